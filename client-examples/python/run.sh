#!/usr/bin/env bash
# Runs the program, or the example that EXAMPLE names, as the process itself.
dir=$(dirname "$0")
target=consumer
[[ -z ${EXAMPLE:-} ]] || target=$EXAMPLE.py
exec "$dir/.venv/bin/python" "$dir/examples/$target" "$@"
