//! Three replicas with random faults: their logs are equal to the shared log, and nothing exposed is missing.
//!
//! `REPLICATION_SEEDS` sets the number of runs, `REPLICATION_SEED` plays one of them, with its log.

#![allow(clippy::print_stdout, reason = "counts of faults are printed for people")]

use super::simulation::{Conditions, Counts, play};

const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

fn conditions(seed: u64) -> Conditions {
    Conditions {
        faults: [0.0, 0.01, 0.05, 0.15][seed as usize % 4],
        outages: !seed.is_multiple_of(5),
        lease: !seed.is_multiple_of(3),
        // Places alone do not fence a leader over a restore: the log can end again where it expects it.
        restores: seed % 7 == 6 && !seed.is_multiple_of(3),
        deletions: seed % 7 == 3 && !seed.is_multiple_of(3),
        moves_in: seed % 11 == 5,
    }
}

#[test]
fn logs_of_replicas_are_shared_log() {
    let (first, count) = match number("REPLICATION_SEED") {
        Some(seed) => {
            tracing_subscriber::fmt().with_ansi(false).with_test_writer().init();
            (seed, 1)
        }
        None => (1, number("REPLICATION_SEEDS").unwrap_or(SEEDS)),
    };
    let mut total = Counts::default();
    for seed in first..first + count {
        let conditions = conditions(seed);
        let played = std::panic::catch_unwind(|| play(seed, conditions));
        let counts = played.unwrap_or_else(|_| panic!("REPLICATION_SEED={seed} {conditions:?}"));
        assert!(counts.leaderships > 0 && counts.shown > 0, "REPLICATION_SEED={seed}: {counts:?}");
        assert!(counts.passed_over == 0 || conditions.loses_log() || counts.yielded > 0, "REPLICATION_SEED={seed}");
        assert!(
            counts.rewound == 0 || conditions.loses_log() || counts.yielded > 0,
            "REPLICATION_SEED={seed}: {counts:?}"
        );
        // A log can be moved in by two leaders, one after the other.
        assert!(
            counts.restored == 0 || conditions.loses_log() || conditions.moves_in,
            "REPLICATION_SEED={seed}: {counts:?}"
        );
        // The keys with the lease are restored, too.
        assert!(counts.two_holders == 0 || conditions.restores, "REPLICATION_SEED={seed}");
        total.add(counts);
    }
    println!("{count} runs: {total:?}");
    if count >= SEEDS {
        total.check_faults(count);
    }
}

impl Counts {
    fn add(&mut self, mut other: Self) {
        for (total, own) in self.fields().into_iter().zip(other.fields()) {
            *total.1 += *own.1;
        }
    }

    /// Requires that each fault occurred, and led to what it can lead to.
    fn check_faults(mut self, runs: u64) {
        let rare = ["passed_over", "yielded", "heads", "two_holders", "rolled_back", "set_aside", "lost"];
        for (name, count) in self.fields() {
            assert!(rare.contains(&name) || *count > runs / 20, "{name} occurred {count} times in {runs} runs");
        }
    }

    fn fields(&mut self) -> [(&'static str, &mut u64); 28] {
        [
            ("leaderships", &mut self.leaderships),
            ("fenced", &mut self.fenced),
            ("lease_ended", &mut self.lease_ended),
            ("in_doubt", &mut self.in_doubt),
            ("journal_refused", &mut self.journal_refused),
            ("retried", &mut self.retried),
            ("crashes", &mut self.crashes),
            ("freezes", &mut self.freezes),
            ("partitions", &mut self.partitions),
            ("passed_over", &mut self.passed_over),
            ("restores", &mut self.restores),
            ("deletions", &mut self.deletions),
            ("purges", &mut self.purges),
            ("heads", &mut self.heads),
            ("yielded", &mut self.yielded),
            ("rolled_back", &mut self.rolled_back),
            ("rewound", &mut self.rewound),
            ("restored", &mut self.restored),
            ("set_aside", &mut self.set_aside),
            ("lost", &mut self.lost),
            ("shown", &mut self.shown),
            ("two_holders", &mut self.two_holders),
            ("lost_answers", &mut self.lost_answers),
            ("late_requests", &mut self.late_requests),
            ("repeated_requests", &mut self.repeated_requests),
            ("messages", &mut self.messages),
            ("side_records", &mut self.side_records),
            ("checkpoints", &mut self.checkpoints),
        ]
    }
}
