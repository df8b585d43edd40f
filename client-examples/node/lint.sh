#!/usr/bin/env bash
# Builds, and verifies: strict typescript-eslint, unit tests, and the API reference without a warning.
set -euo pipefail
cd "$(dirname "$0")"
./build.sh
npm run --silent lint
npm run --silent test
npm run --silent reference
