/// Settings of the observer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObserverConfig {
    /// Fraction of posts on which the known rules are evaluated: `rules.calibrate`.
    pub calibrate: f64,
    /// Maximum bytes of posts that wait to be observed: `rules.observer_queue_bytes_max`.
    pub observer_queue_bytes_max: usize,
}

impl Default for ObserverConfig {
    fn default() -> Self {
        // Posts of 4 KB, of which 1 % are copied: about 25,000 posts.
        Self { calibrate: 0.01, observer_queue_bytes_max: 4 << 20 }
    }
}
