#!/usr/bin/env bash
# Runs what build.sh built, as the process itself.
exec node "$(dirname "$0")/dist/src/main.js" "$@"
