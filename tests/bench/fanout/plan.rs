//! How much is played for a figure.

use std::path::PathBuf;

/// Numbers of subscribers: the columns.
pub const COLUMNS: [usize; 4] = [1, 10, 100, 1_000];
/// The columns of the compressed rows.
pub const COMPRESSED_COLUMNS: [usize; 2] = [10, 100];

/// Sizes of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rounds: usize,
    /// Numbers of subscribers that are measured, of [`COLUMNS`].
    pub columns: Vec<usize>,
    /// Words of which one is in the name of each row that is measured; all rows without any.
    pub rows: Vec<String>,
    /// How long a figure should take.
    pub seconds: f64,
    /// Posts of a round of a latency row.
    pub latency_posts: u64,
    /// Posts of the replay row, the newest 30,000 of them from the ring.
    pub replay_posts: u64,
    /// Posts that wait for each consumer of `client-examples/`.
    pub example_posts: u64,
    /// Another tree, whose consumers are measured in the same rounds.
    pub before: Option<PathBuf>,
}

impl Plan {
    /// Five rounds, for the table.
    pub fn whole() -> Self {
        Self {
            rounds: 5,
            columns: COLUMNS.to_vec(),
            rows: Vec::new(),
            seconds: 1.5,
            latency_posts: 3_000,
            replay_posts: 90_000,
            example_posts: 40_000,
            before: None,
        }
    }

    /// Two short rounds, to try it out.
    pub fn quick() -> Self {
        Self {
            rounds: 2,
            seconds: 0.3,
            latency_posts: 1_000,
            replay_posts: 60_000,
            example_posts: 5_000,
            ..Self::whole()
        }
    }

    /// Whether a row of this name is measured.
    pub fn measures(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|word| row.contains(word))
    }

    /// Posts before the first that counts.
    pub fn warm(&self, subscribers: usize) -> u64 {
        (50_000 / subscribers.max(1) as u64).clamp(200, 2_000)
    }

    /// Posts of a figure, for a server that takes so many a second: at least enough for its subscribers' batches to fill
    /// a few times, at most what fits a disk's cache.
    pub fn events(&self, subscribers: usize, per_second: f64) -> u64 {
        let (least, most) = match subscribers {
            0 => (10_000, 40_000),
            1 => (10_000, 100_000),
            2..=99 => (4_000, 60_000),
            100..=999 => (1_000, 30_000),
            _ => (600, 10_000),
        };
        let share = if self.seconds < 1.0 { 4 } else { 1 };
        ((per_second * self.seconds) as u64).clamp(least / share, most / share)
    }

    /// The same for compressed rows, whose events the load keeps until it decodes them.
    pub fn warm_compressed(&self, subscribers: usize) -> u64 {
        (2_000 / subscribers.max(1) as u64).max(20)
    }

    /// The same for compressed rows.
    pub fn events_compressed(&self, subscribers: usize, per_second: f64) -> u64 {
        let (least, most) = if subscribers < 100 { (1_000, 20_000) } else { (200, 4_000) };
        ((per_second * self.seconds) as u64).clamp(least, most)
    }

    /// Posts of the memory row.
    pub fn saturated(&self) -> u64 {
        self.events(1_000, 2_000.0)
    }
}
