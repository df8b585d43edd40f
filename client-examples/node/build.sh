#!/usr/bin/env bash
# Builds the example: packages from npm, stubs from proto/, JavaScript in dist/. Ends with 77 without Node.
set -euo pipefail
cd "$(dirname "$0")"

for program in node npm; do
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "node: $program is not installed (Node 20 or newer is needed)" >&2
        exit 77
    fi
done
major=$(node --print 'process.versions.node.split(".")[0]')
if ((major < 20)); then
    echo "node: Node 20 or newer is needed, this is $(node --version)" >&2
    exit 77
fi

built=dist/src/main.js
sources=(package.json package-lock.json buf.gen.yaml tsconfig.json src test proto ../../proto)
if [[ -e $built && -z $(find "${sources[@]}" -path src/gen -prune -o -newer "$built" -print -quit) ]]; then
    exit 0
fi

# npm leaves this file behind when it is done: packages are fetched again only if the lock file is newer.
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
    npm ci --ignore-scripts --no-audit --no-fund >&2
    touch node_modules/.package-lock.json
fi
npm run --silent build >&2
