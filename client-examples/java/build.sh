#!/usr/bin/env bash
# Builds the library and examples/target/consumer.jar with all that the examples need. Ends with 77 without a JDK 17 or Maven.
set -euo pipefail
cd "$(dirname "$0")"

. ./toolchain.sh
version=$(javac -version 2>&1)
major=${version#javac }
major=${major%%[.-]*}
if ((major < 17)); then
    echo "java: JDK 17 or newer is needed, this is $version" >&2
    exit 77
fi

jar=examples/target/consumer.jar
# Maven alone takes seconds to find out that there is nothing to do.
if [[ -e $jar && -z $(find pom.xml */pom.xml */src/main ../../proto -newer "$jar" -print -quit) ]]; then
    exit 0
fi
mvn --quiet --batch-mode --no-transfer-progress -Dmaven.test.skip=true package >&2
