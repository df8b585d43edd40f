#!/usr/bin/env bash
# Runs what build.sh built, as the process itself.
exec "$(dirname "$0")/target/debug/examples/consumer" "$@"
