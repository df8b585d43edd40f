#!/usr/bin/env bash
# Packs the crate, and makes a package in the directory $1 that depends on what is in it.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v cargo >/dev/null 2>&1; then
    echo "rust: cargo is not installed (Rust 1.95 or newer is needed)" >&2
    exit 77
fi
target=$PWD/target
# lint.sh builds it. Changes that are not committed are in it too.
cargo package --quiet --locked --package powerstream-consumer --target-dir "$target" --allow-dirty --no-verify
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
cp examples/print.rs examples/Cargo.lock "$1"
cd "$1"
tar --extract --file "$target/package/powerstream-consumer-$version.crate"
mkdir src
mv print.rs src/main.rs
cat >Cargo.toml <<TOML
[package]
name = "indexer"
version = "0.0.0"
edition = "2024"

# Not a part of a workspace that contains this directory.
[workspace]

[dependencies]
powerstream-consumer = { path = "powerstream-consumer-$version" }
tokio = { version = "1", features = ["rt-multi-thread", "macros", "signal"] }
TOML
# As the examples are built, with their versions: dependencies that are built already are not built again.
CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo build --quiet --target-dir "$target"
cp "$target/debug/indexer" run
