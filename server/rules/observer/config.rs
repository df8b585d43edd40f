use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the observer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ObserverConfig {
    /// Fraction of posts on which the known rules are evaluated and compared with the rules that X names. 0: none. The posts
    /// are chosen by their id.
    pub calibrate: f64,
    /// Maximum bytes of posts that wait to be observed. Further ones are dropped and counted in `rule_posts_dropped`.
    pub observer_queue_bytes_max: usize,
}

impl Default for ObserverConfig {
    fn default() -> Self {
        // Posts of 4 KB, of which 1 % are copied: about 25,000 posts.
        Self { calibrate: 0.01, observer_queue_bytes_max: 4 << 20 }
    }
}
