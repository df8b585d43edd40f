#!/usr/bin/env bash
# Verifies what build.sh built: strict typescript-eslint, unit tests, and the API reference without a warning.
set -euo pipefail
cd "$(dirname "$0")"
npm run --silent lint
npm run --silent test
npm run --silent reference
