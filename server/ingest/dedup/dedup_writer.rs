use std::collections::HashMap;
use std::sync::Arc;

use super::index::{DedupEntry, DedupIndex};
use super::{DedupError, DedupResult, KnownPost};
use crate::model::{PostId, Rule, Sequence, UnixMillis, union_rules};

/// The writer's side, on the sequencer's thread.
///
/// For each arrival of a batch: [`DedupWriter::classify`], and [`DedupWriter::stage`] if it gets a record. Then, when the batch is
/// appended, [`DedupWriter::commit`]; when it is not, [`DedupWriter::discard`].
pub struct DedupWriter {
    index: Arc<DedupIndex>,
    /// What is judged and not yet appended, in order.
    noted: Vec<DedupEntry>,
    /// Where in `noted` an id stands last.
    places: HashMap<PostId, usize>,
}

impl DedupWriter {
    pub(super) fn new(index: Arc<DedupIndex>) -> Self {
        Self { index, noted: Vec::new(), places: HashMap::new() }
    }

    /// The last sequence up to which all records are in files. At start, before anything is judged, the posts and deltas
    /// of the journal after it are to be noted and committed again, in order; earlier ones do no harm.
    pub fn covered(&self) -> Sequence {
        self.index.levels().covered()
    }

    /// What an arrival is, given all that was committed and noted before it.
    pub fn classify(&self, id: PostId, rules: &[Rule]) -> Result<DedupResult, DedupError> {
        self.classify_since(id, rules, 0)
    }

    /// The same, for a log from which nobody needs to know what was committed before `earliest`.
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

    /// What was committed or noted of a post.
    pub fn known(&self, id: PostId) -> Result<Option<KnownPost>, DedupError> {
        match self.places.get(&id) {
            Some(place) => {
                let DedupEntry { rules, sequence, .. } = &self.noted[*place];
                Ok(Some(KnownPost { rules: rules.clone(), sequence: *sequence }))
            }
            None => self.index.find(id),
        }
    }

    /// Takes a record that is about to be appended; sequences ascend, `rules` are those of all arrivals.
    pub fn stage(&mut self, id: PostId, rules: &Arc<[Rule]>, sequence: Sequence, received: UnixMillis) {
        self.places.insert(id, self.noted.len());
        self.noted.push(DedupEntry { id, rules: rules.clone(), sequence, received });
    }

    /// The batch was appended.
    pub fn commit(&mut self) {
        self.places.clear();
        self.index.insert_all(self.noted.drain(..));
    }

    /// The batch was not appended: as if it had never been noted.
    pub fn discard(&mut self) {
        self.places.clear();
        self.noted.clear();
    }

    /// Whether generations wait for maintenance. When the journal is noted again at start, call it then.
    pub fn needs_maintenance(&self) -> bool {
        !self.index.levels().frozen.is_empty()
    }

    /// The verdict, if there is room to note what it leads to.
    fn check_backlog(&self, verdict: DedupResult) -> Result<DedupResult, DedupError> {
        if !self.needs_maintenance() {
            return Ok(verdict);
        }
        let unsealed = self.index.unsealed_ids();
        if unsealed >= self.index.config.unflushed_ids_max { Err(DedupError::Behind { unsealed }) } else { Ok(verdict) }
    }
}
