#!/usr/bin/env bash
# Runs what build.sh built, as the process itself.
exec java -XX:+UseSerialGC -jar "$(dirname "$0")/target/consumer.jar" "$@"
