#!/usr/bin/env bash
# Builds the library, the program and the examples into bin/. Ends with 77 without Go.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v go >/dev/null 2>&1; then
    echo "go: Go is not installed (1.26 or newer is needed)" >&2
    exit 77
fi
go build ./...
go build -o bin/consumer ./cmd/consumer
go -C examples build -o ../bin/examples/ ./...
