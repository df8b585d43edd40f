#!/usr/bin/env bash
# Builds the wheel, and installs it in a virtual environment in the directory $1.
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-python3}
if ! "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "python: Python 3.11 or newer with its module venv is not installed" >&2
    exit 77
fi
cp examples/print.py "$1"
"$python" -m venv "$1/.venv"
pip=("$1/.venv/bin/pip" --quiet --disable-pip-version-check)
"${pip[@]}" wheel --no-deps --wheel-dir "$1" .
"${pip[@]}" install "$1"/*.whl
cat >"$1/run" <<'RUN'
#!/usr/bin/env bash
dir=$(dirname "$0")
exec "$dir/.venv/bin/python" "$dir/print.py"
RUN
chmod +x "$1/run"
