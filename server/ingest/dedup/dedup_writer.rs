use std::collections::HashMap;
use std::sync::Arc;

use super::index::{DedupEntry, DedupIndex};
use super::{DedupError, DedupResult, KnownPost};
use crate::model::{PostId, Rule, Sequence, UnixMillis, union_rules};

/// Deduplication state of the sequencer's thread.
///
/// For each arrival of a batch the sequencer calls [`DedupWriter::classify`], and [`DedupWriter::stage`] if the arrival
/// gets a record. It then calls [`DedupWriter::commit`] if the batch was appended, or [`DedupWriter::discard`] if not.
pub struct DedupWriter {
    index: Arc<DedupIndex>,
    /// Staged entries that are not committed yet, in order.
    noted: Vec<DedupEntry>,
    /// Index in `noted` of the last entry of an id.
    places: HashMap<PostId, usize>,
}

impl DedupWriter {
    pub(super) fn new(index: Arc<DedupIndex>) -> Self {
        Self { index, noted: Vec::new(), places: HashMap::new() }
    }

    /// Returns the last sequence up to which all records are in files. At start, before the first call of `classify`,
    /// the posts and deltas of the journal after it must be staged and committed again, in order; earlier ones are
    /// ignored.
    pub fn covered(&self) -> Sequence {
        self.index.levels().covered()
    }

    /// Classifies an arrival, given everything committed and staged before it.
    pub fn classify(&self, id: PostId, rules: &[Rule]) -> Result<DedupResult, DedupError> {
        self.classify_since(id, rules, 0)
    }

    /// Classifies like [`DedupWriter::classify`], but ignores records before `earliest`.
    pub fn classify_since(&self, id: PostId, rules: &[Rule], earliest: Sequence) -> Result<DedupResult, DedupError> {
        let prior = match self.known(id)? {
            Some(known) if known.sequence >= earliest => known.rules,
            _ => return self.check_backlog(DedupResult::New),
        };
        match union_rules(&prior, rules) {
            Some(now) => self.check_backlog(DedupResult::Delta { prior, now }),
            None => Ok(DedupResult::Duplicate),
        }
    }

    /// Returns the entry of a post, committed or staged.
    pub fn known(&self, id: PostId) -> Result<Option<KnownPost>, DedupError> {
        match self.places.get(&id) {
            Some(place) => {
                let DedupEntry { rules, sequence, .. } = &self.noted[*place];
                Ok(Some(KnownPost { rules: rules.clone(), sequence: *sequence }))
            }
            None => self.index.find(id),
        }
    }

    /// Stages a record that is about to be appended; sequences ascend, `rules` are those of all arrivals.
    pub fn stage(&mut self, id: PostId, rules: &Arc<[Rule]>, sequence: Sequence, received: UnixMillis) {
        self.places.insert(id, self.noted.len());
        self.noted.push(DedupEntry { id, rules: rules.clone(), sequence, received });
    }

    /// Commits the staged entries: the batch was appended.
    pub fn commit(&mut self) {
        self.places.clear();
        self.index.insert_all(self.noted.drain(..));
    }

    /// Discards the staged entries: the batch was not appended.
    pub fn discard(&mut self) {
        self.places.clear();
        self.noted.clear();
    }

    /// True if memtables wait to be flushed. While the journal is staged again at start, maintenance must run then.
    pub fn needs_maintenance(&self) -> bool {
        !self.index.levels().frozen.is_empty()
    }

    /// Returns the result unless too many ids wait to be flushed.
    fn check_backlog(&self, result: DedupResult) -> Result<DedupResult, DedupError> {
        if !self.needs_maintenance() {
            return Ok(result);
        }
        let unsealed = self.index.unsealed_ids();
        if unsealed >= self.index.config.unflushed_ids_max { Err(DedupError::Behind { unsealed }) } else { Ok(result) }
    }
}
