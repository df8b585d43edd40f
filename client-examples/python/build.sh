#!/usr/bin/env bash
# Builds the example: packages from PyPI into .venv, stubs from proto/ into src/powerstream. Ends with 77 without Python.
set -euo pipefail
cd "$(dirname "$0")"

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "python: Python 3.10 or newer is not installed" >&2
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
.venv/bin/python -m grpc_tools.protoc --proto_path=../../proto --python_out=src --pyi_out=src --grpc_python_out=src \
    ../../proto/powerstream/gateway/v1/{event,gap,stream_service,time_interval}.proto
