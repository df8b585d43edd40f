#!/usr/bin/env bash
# Builds library and examples: packages from npm, stubs from proto/, JavaScript and the npm package in dist/. Ends with 77
# without Node.
set -euo pipefail
cd "$(dirname "$0")"

for program in node npm; do
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "node: $program is not installed (Node 22.13 or newer is needed)" >&2
        exit 77
    fi
done
IFS=. read -r major minor _ <<<"$(node --print process.versions.node)"
if ((major < 22 || (major == 22 && minor < 13))); then
    echo "node: Node 22.13 or newer is needed, this is $(node --version)" >&2
    exit 77
fi

built=dist/examples/consumer/main.js
sources=(package.json package-lock.json buf.gen.yaml tsconfig.json src examples test proto ../../proto)
if [[ -e $built && -z $(find "${sources[@]}" -path src/gen -prune -o -newer "$built" -print -quit) ]]; then
    exit 0
fi

# npm leaves this file behind when it is done: packages are fetched again only if the lock file is newer.
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
    npm ci --ignore-scripts --no-audit --no-fund >&2
    touch node_modules/.package-lock.json
fi
npm run --silent build >&2
npm pack --silent --ignore-scripts --pack-destination dist >/dev/null
