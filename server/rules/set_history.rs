//! Changes of a set that undo each other: two writers that disagree would spend the budget for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rule::WantedRule;
use crate::model::UnixMillis;

/// Changes that each restore what the set contained before the previous one, after which the set is suspended.
const UNDONE_MAX: usize = 3;
/// Changes that are remembered: the last ones restore the first two.
const ENTRIES_MAX: usize = UNDONE_MAX + 1;
/// Age at which a change is forgotten.
const AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The last contents of a set for which requests were made, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SetHistory(Vec<HistoryEntry>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HistoryEntry {
    digest: String,
    time: UnixMillis,
    /// A request was made while the set had this content. A content without one costs nothing, and is replaced.
    spent: bool,
}

fn digest(rules: &[WantedRule]) -> String {
    let mut hash = Sha256::new();
    for rule in rules {
        for text in [&rule.name, &rule.value, &rule.tag] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl SetHistory {
    /// True if these rules would be one more change that undoes the previous one, after as many as are tolerated.
    pub fn is_undone_again(&self, rules: &[WantedRule], now: UnixMillis) -> bool {
        let mut next = self.clone();
        next.push(rules, now);
        let entries = &next.0;
        let undone = |n: usize| n >= 2 && entries[n].digest == entries[n - 2].digest;
        let last = (2..entries.len()).rev().take_while(|n| undone(*n)).count();
        last >= UNDONE_MAX - 1 && entries.len() == ENTRIES_MAX
    }

    /// Adds the content of a set.
    pub fn push(&mut self, rules: &[WantedRule], now: UnixMillis) {
        self.0.retain(|entry| now.since(entry.time) < AGE_MAX);
        let digest = digest(rules);
        if self.0.last().is_some_and(|last| !last.spent) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|last| last.digest != digest) {
            self.0.push(HistoryEntry { digest, time: now, spent: false });
        }
        let excess = self.0.len().saturating_sub(ENTRIES_MAX);
        self.0.drain(..excess);
    }

    /// Records that a request was made.
    pub fn mark_spent(&mut self) {
        if let Some(last) = self.0.last_mut() {
            last.spent = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(value: &str) -> Vec<WantedRule> {
        let (name, tag) = ("a".to_owned(), "t".to_owned());
        vec![WantedRule { name, value: value.to_owned(), tag, note: String::new() }]
    }

    /// Applies contents as long as they are not refused. Returns how many were applied.
    fn applied(contents: &[&str], minutes: i64, spent: bool) -> usize {
        let mut history = SetHistory::default();
        for (n, value) in contents.iter().enumerate() {
            let now = UnixMillis(n as i64 * minutes * 60_000);
            if history.is_undone_again(&rules(value), now) {
                return n;
            }
            history.push(&rules(value), now);
            if spent {
                history.mark_spent();
            }
        }
        contents.len()
    }

    #[test]
    fn writers_that_disagree_are_stopped() {
        for (contents, minutes, spent, expected) in [
            (&["a", "b", "a", "b", "a", "b"][..], 1, true, 3),
            (&["a", "b", "a", "c", "a", "b"], 1, true, 6),
            (&["a", "b", "c", "d", "e", "f"], 1, true, 6),
            (&["a", "a", "a", "a", "a", "a"], 1, true, 6),
            // What no request followed cost nothing.
            (&["a", "b", "a", "b", "a", "b"], 1, false, 6),
            (&["a", "b", "a", "b", "a", "b"], 13 * 60, true, 6),
        ] {
            assert_eq!(applied(contents, minutes, spent), expected, "{contents:?}");
        }
    }
}
