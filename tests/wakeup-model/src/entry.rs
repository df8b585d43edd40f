//! Log entries, reduced to what the index reads of them.

use std::sync::Arc;

use crate::model::{KeyFilter, KeySet, Rule, Sequence};

/// A record as the index sees it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Position in the log.
    pub sequence: Sequence,
    /// What the record announces.
    pub kind: EntryKind,
}

/// The kinds of `server/hub/entry`.
#[derive(Clone, Debug)]
pub enum EntryKind {
    /// A POST or DELTA.
    Event(Event),
    /// A GAP.
    Gap(()),
    /// A SKIP.
    Skip(()),
    /// A RULES.
    Rules(()),
    /// A TERM, which no session is to see.
    Term,
}

/// A post, reduced to the rules that matched it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The rules that matched.
    pub rules: Arc<[Rule]>,
}

/// Returns a post with these tags; its rules have no id.
pub fn tagged(tags: &[&str]) -> EntryKind {
    EntryKind::Event(Event { rules: tags.iter().map(|&tag| Rule { id: None, tag: Some(tag.into()) }).collect() })
}

/// Returns a post that the rule with this id matched; the rule has no tag.
pub fn ruled(id: u64) -> EntryKind {
    EntryKind::Event(Event { rules: [Rule { id: Some(id), tag: None }].into() })
}

impl Entry {
    /// Returns true if a session with these keys must see the record. Does not use the index.
    pub fn is_for(&self, keys: &KeyFilter) -> bool {
        let mut found = KeySet::default();
        match &self.kind {
            EntryKind::Event(event) => found.add(&event.rules),
            EntryKind::Gap(()) | EntryKind::Skip(()) | EntryKind::Rules(()) => found.notices = true,
            EntryKind::Term => return false,
        }
        found.may_match(keys)
    }
}

/// Returns the batches of a log that starts at sequence 1.
pub fn batches<const N: usize>(kinds: [Vec<EntryKind>; N]) -> Vec<Vec<Arc<Entry>>> {
    let mut sequence = 0;
    let mut entry = |kind| {
        sequence += 1;
        Arc::new(Entry { sequence, kind })
    };
    kinds.into_iter().map(|batch| batch.into_iter().map(&mut entry).collect()).collect()
}
