//! Compares the deliveries of a demo consumer with the posts that the simulator sent.

use std::collections::{HashMap, HashSet};

use crate::simulator::SentPost;

/// Posts that a consumer received, by id.
#[derive(Debug, Default)]
pub(super) struct DeliveryLog {
    got: HashMap<u64, u64>,
}

/// Result of the comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Posts that it should have received.
    pub due: u64,
    /// Those of them that it received.
    pub got: u64,
    /// Deliveries of a post after its first.
    pub repeated: u64,
    /// Posts that it should not have received.
    pub foreign: u64,
}

impl DeliveryLog {
    /// Records a delivery.
    pub(super) fn note(&mut self, post_id: u64) {
        *self.got.entry(post_id).or_default() += 1;
    }

    /// Returns the number of distinct posts received.
    pub(super) fn len(&self) -> usize {
        self.got.len()
    }

    /// Compares with the sent posts that have this tag.
    pub(super) fn compare(&self, truth: &[SentPost], tag: &str) -> Comparison {
        let due: HashSet<u64> = truth.iter().filter(|post| has(post, tag)).map(|post| post.post_id.0).collect();
        Comparison {
            due: due.len() as u64,
            got: due.iter().filter(|id| self.got.contains_key(id)).count() as u64,
            repeated: self.got.values().map(|times| times - 1).sum(),
            foreign: self.got.keys().filter(|id| !due.contains(id)).count() as u64,
        }
    }
}

impl Comparison {
    /// Returns true if no post was missing, repeated or not due.
    pub(super) fn is_sound(&self) -> bool {
        self.due == self.got && self.repeated == 0 && self.foreign == 0
    }
}

/// Returns true if a rule with this tag matched the post.
pub(super) fn has(post: &SentPost, tag: &str) -> bool {
    post.rules.iter().any(|rule| rule.tag.as_deref() == Some(tag))
}
