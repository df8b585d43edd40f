#!/usr/bin/env bash
# Lints the library, the program and the examples, runs the library's own tests, and makes its API documentation. Ends with 77
# without Python.
set -euo pipefail
cd "$(dirname "$0")"
./build.sh

cache=${XDG_CACHE_HOME:-$HOME/.cache}/powerstream-gateway-ci/python
# The stamp says for which pyproject.toml the packages were fetched. Apart from .venv, which is what a user has.
if ! cmp -s pyproject.toml "$cache/built-for"; then
    python3 -m venv --clear "$cache"
    "$cache/bin/pip" install --quiet --disable-pip-version-check '.[build,check]' >&2
    cp pyproject.toml "$cache/built-for"
fi
"$cache/bin/ruff" check .
"$cache/bin/ruff" format --check .
"$cache/bin/mypy"
.venv/bin/python -m unittest discover --start-directory tests
# A warning of pdoc, as about a name that cannot be resolved, is a failure.
documented=$("$cache/bin/pdoc" --output-directory docs src/powerstream 2>&1) || { echo "$documented" >&2 && exit 1; }
if [[ -n $documented ]]; then
    echo "pdoc: $documented" >&2
    exit 1
fi
