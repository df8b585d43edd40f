#!/usr/bin/env bash
# Builds the library, the program and the examples into target/. Ends with 77 without Rust.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v cargo >/dev/null 2>&1; then
    echo "rust: cargo is not installed (Rust 1.95 or newer is needed)" >&2
    exit 77
fi
# A directory of its own: the features of its dependencies are not those of the gateway.
cargo build --quiet --locked --manifest-path examples/Cargo.toml --target-dir target
