# Every recipe works with cargo alone; `just` is a convenience.

# What CI does.
default:
    .ci/run

# The fast half of CI: format, lints, house rules, proto.
lint:
    .ci/run lint

# All tests.
test:
    cargo test

# The house rules alone: floors, fences, sizes.
tidy:
    cargo test --test it tidy

# A stand-in for X, a gateway and two subscribers on loopback.
demo *args="--seconds 20":
    cargo run --release -- demo {{ args }}

# Benchmarks.
bench *args:
    cargo bench {{ args }}

# The property tests with this many cases each, to look for new seeds.
seeds cases="10000":
    PROPTEST_CASES={{ cases }} cargo test --release
