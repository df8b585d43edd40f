# Every recipe works with cargo alone, but for `landed`; `just` is a convenience.

# As `.ci/run` has fetched it.
buf := env("BUF", env("HOME") / ".cache/powerstream-gateway-ci/buf-1.75.0/node_modules/.bin/buf")

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
    cargo test --locked --test it architecture

# A stand-in for X, a gateway and two subscribers on loopback.
demo *args="--seconds 20":
    cargo run --release -- demo {{ args }}

# Models of the wake-up index under loom and shuttle. LOOM_MAX_PREEMPTIONS and SHUTTLE_SCHEDULES set how much they explore.
wakeup-model *args:
    cargo test --manifest-path tests/wakeup-model/Cargo.toml --target-dir target/wakeup-model {{ args }}

# Breaks the wake-up index in one place at a time; a model must find each.
wakeup-mutants *names:
    tests/wakeup-model/mutants.sh {{ names }}

# Takes out one rule of the contract at a time; the test that holds it must fail.
mutants *names:
    tests/mutants/run {{ names }}

# What stalled subscribers cost the others, judged by the contract's +20 %. On a quiet machine.
independence:
    LATENCY_CHECKED=1 cargo test --test it independence:: -- --nocapture

# Takes proto/ as it is for the interface that was landed, which `.ci/run` compares changes with. Refuses one that breaks it.
landed:
    {{ buf }} breaking --against proto/landed.binpb
    {{ buf }} build --exclude-source-info -o proto/landed.binpb

# The attack suite at full size, one test after the other, with the memory that each load takes.
attacks *filter="hostile::":
    HOSTILE=full cargo test --test it {{ filter }} -- --nocapture --test-threads=1

# The status page in headless Chromium; with a directory, screenshots as well.
status-page *screenshots:
    cargo build
    tests/status-page/run target/debug/powerstream-gateway {{ screenshots }}

# Benchmarks.
bench *args:
    cargo bench {{ args }}

# So many random mixtures of all that goes wrong, played against the real gateway; SEED=7 cargo test plays one of them.
seeds n="500":
    SEEDS={{ n }} cargo test --release --test it random_faults:: -- --nocapture

# So many hostile histories on a virtual clock; HISTORY_SEED=7 just histories plays one of them.
histories n="50000":
    HISTORIES={{ n }} cargo test --lib app::tests::hostile_histories -- --nocapture

# The same with a connection to each of two datacenters.
histories-of-datacenters n="10000":
    HISTORIES={{ n }} cargo test --lib app::tests::histories_of_datacenters -- --nocapture

# The property tests with this many cases each, to look for new seeds.
cases n="10000":
    PROPTEST_CASES={{ n }} cargo test --release
