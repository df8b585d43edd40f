#!/usr/bin/env bash
# Compiles with -Xlint:all, Error Prone and -Werror, runs the unit tests, and makes the API reference without a warning. Ends with
# 77 without a JDK or Maven.
set -euo pipefail
cd "$(dirname "$0")"
. ./toolchain.sh
mvn --quiet --batch-mode --no-transfer-progress -Plint package org.apache.maven.plugins:maven-javadoc-plugin:javadoc >&2
