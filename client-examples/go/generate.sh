#!/usr/bin/env bash
# Makes the stubs in gen/ from proto/, with buf (https://buf.build/docs/cli/installation, or BUF=PATH). They are committed:
# run it after a change of proto/.
set -euo pipefail
cd "$(dirname "$0")"
"${BUF:-buf}" generate
