#!/usr/bin/env bash
# Runs what build.sh built, as the process itself: the consumer with flags, or the example that EXAMPLE names.
case ${EXAMPLE:-} in
    '') program=Main ;;
    print) program=Print ;;
    sqlite) program=Sqlite ;;
    postgresql) program=Postgresql ;;
    *)
        echo "EXAMPLE: print, sqlite or postgresql expected, not '$EXAMPLE'" >&2
        exit 2
        ;;
esac
exec java -XX:+UseSerialGC -cp "$(dirname "$0")/examples/target/consumer.jar" "io.powerstream.gateway.example.$program" "$@"
