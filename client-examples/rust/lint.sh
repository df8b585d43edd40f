#!/usr/bin/env bash
# Lints the library, the program and the examples, runs the library's own tests, makes its API documentation without a warning, and
# builds it from its package. Ends with 77 without Rust.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v cargo >/dev/null 2>&1; then
    echo "rust: cargo is not installed (Rust 1.95 or newer is needed)" >&2
    exit 77
fi

library=(--quiet --locked --package powerstream-consumer --target-dir target)
examples=(--quiet --locked --manifest-path examples/Cargo.toml --target-dir target)
cargo fmt --package powerstream-consumer --check
cargo fmt --manifest-path examples/Cargo.toml --check
# Pedantic: [lints.clippy] of both packages.
cargo clippy "${library[@]}" --all-targets -- -D warnings
cargo clippy "${examples[@]}" --all-targets -- -D warnings
# The code of the documentation too.
cargo test "${library[@]}"
cargo test "${examples[@]}"
RUSTDOCFLAGS='-D warnings' cargo doc "${library[@]}" --no-deps
# Builds what is in the package, outside the repository's workspace. Changes that are not committed are in it too.
cargo package "${library[@]}" --allow-dirty
