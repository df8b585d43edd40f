#!/usr/bin/env bash
# Compiles with -Xlint:all, Error Prone and -Werror, runs the unit tests, and makes the API reference without a warning. Ends with
# 77 without a JDK or Maven.
set -euo pipefail
cd "$(dirname "$0")"
for program in javac mvn; do
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "java: $program is not installed (JDK 17 or newer and Maven 3.8 or newer are needed)" >&2
        exit 77
    fi
done
mvn --quiet --batch-mode --no-transfer-progress -Plint package org.apache.maven.plugins:maven-javadoc-plugin:javadoc >&2
