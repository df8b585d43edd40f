#!/usr/bin/env bash
# Runs what build.sh built, as the process itself: the consumer with flags, or the example that EXAMPLE names.
case ${EXAMPLE:-} in
    '') program=consumer/main ;;
    print | sqlite | postgresql) program=$EXAMPLE ;;
    *)
        echo "EXAMPLE: print, sqlite or postgresql expected, not '$EXAMPLE'" >&2
        exit 2
        ;;
esac
exec node "$(dirname "$0")/dist/examples/$program.js" "$@"
