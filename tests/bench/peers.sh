#!/usr/bin/env bash
# Fetches what `cargo bench --bench fanout` compares the gateway with, and builds the clients in Go and Python, into
# ~/.cache/powerstream-gateway-bench. What cannot be had is said, and left out of the table.
set -uo pipefail
cd "$(dirname "$0")"

nats_version=v2.14.1
grpcio_version=1.85.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/powerstream-gateway-bench
mkdir -p "$cache/bin"
missing=()

have() {
    command -v "$1" >/dev/null 2>&1
}

nats() {
    have go && GOBIN=$cache/bin go install "github.com/nats-io/nats-server/v2@$nats_version"
}

# Redis and ip (iproute2) come from the distribution.
debian() {
    have redis-server && have ip && return
    ((EUID == 0)) && have apt-get && apt-get update -q && apt-get install -qy --no-install-recommends redis-server iproute2
}

client_go() {
    have go && (cd clients/go && go build -o "$cache/bin/fanout-client-go" .)
}

client_python() {
    python3 -m venv "$cache/venv" &&
        "$cache/venv/bin/pip" install --quiet "grpcio==$grpcio_version" "grpcio-tools==$grpcio_version" &&
        mkdir -p "$cache/python" &&
        "$cache/venv/bin/python" -m grpc_tools.protoc --proto_path=../../proto --python_out="$cache/python" \
            --grpc_python_out="$cache/python" ../../proto/powerstream/gateway/v1/{event,gap,stream_service}.proto
}

for what in nats debian client_go client_python; do
    "$what" || missing+=("$what")
done
if ((${#missing[@]})); then
    echo "left out: ${missing[*]} (Go, Python with venv, and as root apt-get are needed)" >&2
    exit 1
fi
echo "all peers are in $cache"
