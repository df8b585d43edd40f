#!/usr/bin/env bash
# A module in the directory $1 that requires the library. Go has no packages to build: the module is its source.
set -euo pipefail
cd "$(dirname "$0")"
library=$PWD
if ! command -v go >/dev/null 2>&1; then
    echo "go: Go is not installed (1.26 or newer is needed)" >&2
    exit 77
fi
module=$(go list -m)
cp examples/print/main.go "$1"
cd "$1"
go mod init example.test/indexer
go mod edit -replace "$module=$library"
go mod tidy
go build -o run .
