#!/usr/bin/env bash
# Builds the library into .venv, where the program and the examples use it. Ends with 77 without Python.
set -euo pipefail
cd "$(dirname "$0")"

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "python: Python 3.11 or newer is not installed" >&2
    exit 77
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "python: the module venv is not installed (Debian: apt install python3-venv)" >&2
    exit 77
fi

# The stamp says for which pyproject.toml the packages were fetched.
if ! cmp -s pyproject.toml .venv/built-for; then
    "$python" -m venv --clear .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --editable '.[build]' >&2
    cp pyproject.toml .venv/built-for
fi
# For a changed proto/. The plugins are found by PATH.
PATH=$PWD/.venv/bin:$PATH .venv/bin/python setup.py --quiet generate
