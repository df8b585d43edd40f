#!/usr/bin/env bash
# Runs what build.sh built, as the process itself: the program, or the example that EXAMPLE names.
exec "$(dirname "$0")/target/debug/${EXAMPLE:-consumer}" "$@"
