#!/usr/bin/env bash
# Lints the library, the program and the examples, and runs the library's own tests. The linters are built once from the Go
# proxy. Ends with 77 without Go.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v go >/dev/null 2>&1; then
    echo "go: Go is not installed (1.26 or newer is needed)" >&2
    exit 77
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/powerstream-gateway-ci
# Prints the path of a tool, built for the Go that is installed.
tool() {
    local module=$1 version=$2 dir
    dir=$cache/$(basename "$module")-$version-$(go env GOVERSION)
    [[ -x $dir/$(basename "$module") ]] || GOBIN=$dir go install "$module@$version" >&2
    echo "$dir/$(basename "$module")"
}
staticcheck=$(tool honnef.co/go/tools/cmd/staticcheck v0.8.2)
errcheck=$(tool github.com/kisielk/errcheck v1.30.0)

unformatted=$(gofmt -l .)
if [[ -n $unformatted ]]; then
    echo "gofmt would change: $unformatted" >&2
    exit 1
fi
for module in . examples; do
    # staticcheck and errcheck work on the module of the directory.
    (cd "$module" && go mod verify && go vet ./... && "$staticcheck" ./... && "$errcheck" ./...)
done
# What `go doc` shows is whole: ST1000 and ST1020 to ST1022 of staticcheck demand a comment for each exported name.
go test ./...
