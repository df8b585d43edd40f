#!/usr/bin/env bash
# Compiles with -Xlint:all -Werror, runs the unit tests, and makes the API reference without a warning.
set -euo pipefail
cd "$(dirname "$0")"
mvn --quiet --batch-mode --no-transfer-progress --projects proto,consumer package org.apache.maven.plugins:maven-javadoc-plugin:javadoc >&2
