use std::collections::HashMap;
use std::sync::Arc;

use super::index::{Index, Note};
use super::{Error, Known, Verdict};
use crate::model::{PostId, Rule, Sequence, UnixMillis, rules_union};

/// The writer's side, on the sequencer's thread.
///
/// For each arrival of a batch: [`Seen::judge`], and [`Seen::note`] if it gets a record. Then, when the batch is
/// appended, [`Seen::commit`]; when it is not, [`Seen::discard`].
pub struct Seen {
    index: Arc<Index>,
    /// What is judged and not yet appended, in order.
    noted: Vec<Note>,
    /// Where in `noted` an id stands last.
    places: HashMap<PostId, usize>,
}

impl Seen {
    pub(super) fn new(index: Arc<Index>) -> Self {
        Self { index, noted: Vec::new(), places: HashMap::new() }
    }

    /// The last sequence up to which all records are in files. At start, before anything is judged, the posts and deltas
    /// of the journal after it are to be noted and committed again, in order; earlier ones do no harm.
    pub fn covered(&self) -> Sequence {
        self.index.levels().covered()
    }

    /// What an arrival is, given all that was committed and noted before it.
    pub fn judge(&self, id: PostId, rules: &[Rule]) -> Result<Verdict, Error> {
        self.judge_since(id, rules, 0)
    }

    /// The same, for a log from which nobody needs to know what was committed before `earliest`.
    pub fn judge_since(&self, id: PostId, rules: &[Rule], earliest: Sequence) -> Result<Verdict, Error> {
        let prior = match self.known(id)? {
            Some(known) if known.sequence >= earliest => known.rules,
            _ => return self.room(Verdict::New),
        };
        match rules_union(&prior, rules) {
            Some(now) => self.room(Verdict::Delta { prior, now }),
            None => Ok(Verdict::Duplicate),
        }
    }

    /// What was committed or noted of a post.
    pub fn known(&self, id: PostId) -> Result<Option<Known>, Error> {
        match self.places.get(&id) {
            Some(place) => {
                let Note { rules, sequence, .. } = &self.noted[*place];
                Ok(Some(Known { rules: rules.clone(), sequence: *sequence }))
            }
            None => self.index.find(id),
        }
    }

    /// Takes a record that is about to be appended; sequences ascend, `rules` are those of all arrivals.
    pub fn note(&mut self, id: PostId, rules: &Arc<[Rule]>, sequence: Sequence, received: UnixMillis) {
        self.places.insert(id, self.noted.len());
        self.noted.push(Note { id, rules: rules.clone(), sequence, received });
    }

    /// The batch was appended.
    pub fn commit(&mut self) {
        self.places.clear();
        self.index.take(self.noted.drain(..));
    }

    /// The batch was not appended: as if it had never been noted.
    pub fn discard(&mut self) {
        self.places.clear();
        self.noted.clear();
    }

    /// Whether generations wait for upkeep. When the journal is noted again at start, call it then.
    pub fn wants_upkeep(&self) -> bool {
        !self.index.levels().frozen.is_empty()
    }

    /// The verdict, if there is room to note what it leads to.
    fn room(&self, verdict: Verdict) -> Result<Verdict, Error> {
        if !self.wants_upkeep() {
            return Ok(verdict);
        }
        let unsealed = self.index.unsealed_ids();
        if unsealed >= self.index.config.unsealed_ids_max { Err(Error::Behind { unsealed }) } else { Ok(verdict) }
    }
}
