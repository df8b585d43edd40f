//! Where a replica is in the shared log: the file `place` next to its journal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::checkpoint::SharedCheckpoint;
use crate::model::{Epoch, Sequence, Term};
use crate::quorum::{Acceptance, Chain, LogPlace, Stored};
use crate::state_file;

/// Version of the file format.
const VERSION: u32 = 1;

/// Where a replica is in the shared log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaPlace {
    /// Incarnation of the shared log.
    pub created: String,
    /// The last message that was read.
    pub last: LogPlace,
    /// State after it.
    pub acceptance: Acceptance,
}

impl ReplicaPlace {
    /// Returns the place before the first message.
    pub fn start(created: String, epoch: Epoch) -> Self {
        Self { created, last: 0, acceptance: Acceptance::new(epoch) }
    }

    /// Returns the place after this checkpoint.
    pub(super) fn after(created: String, stored: &Stored, checkpoint: &SharedCheckpoint) -> Self {
        let &SharedCheckpoint { epoch, term, next_record, next_side, .. } = checkpoint;
        let acceptance = Acceptance { epoch, term: Some(term), next_record, next_side, chain: stored.message.chain };
        Self { created, last: stored.place, acceptance }
    }

    fn is_within(&self, synced: Sequence, synced_side: Sequence) -> bool {
        self.acceptance.next_record <= synced && self.acceptance.next_side <= synced_side
    }
}

/// Place of a message of one leader. A number alone is not a place of all replicas: a shared log that was restored from an
/// older copy has other messages at the places of the lost ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TermPlace {
    /// The leader's term, which no other leader has.
    pub(super) term: u64,
    pub(super) last: LogPlace,
}

impl TermPlace {
    pub(super) fn encode(self) -> Bytes {
        [self.term.to_le_bytes(), self.last.to_le_bytes()].concat().into()
    }

    /// Returns `None` for bytes of another form.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (term, last) = bytes.split_at_checked(size_of::<u64>())?;
        let (term, last) = (u64::from_le_bytes(term.try_into().ok()?), LogPlace::from_le_bytes(last.try_into().ok()?));
        Some(Self { term, last })
    }
}

/// The current place of a replica, for the thread that writes the file. Clones share it.
#[derive(Clone, Debug)]
pub struct PlaceCell {
    place: Arc<Mutex<ReplicaPlace>>,
    /// The newest place that the leader announced.
    announced: Arc<AtomicU64>,
}

impl PlaceCell {
    /// Creates a cell with this place.
    pub fn new(place: ReplicaPlace) -> Self {
        Self { place: Arc::new(Mutex::new(place)), announced: Arc::default() }
    }

    /// Returns the place.
    pub fn get(&self) -> ReplicaPlace {
        self.place.lock().clone()
    }

    /// True if this replica has read that message, and all before it. False, too, once it has read another leader's.
    pub(super) fn has(&self, message: TermPlace) -> bool {
        let place = self.place.lock();
        place.acceptance.term == Some(Term(message.term)) && place.last >= message.last
    }

    /// Returns the current writer, as far as this replica has read.
    pub(super) fn term(&self) -> Option<Term> {
        self.place.lock().acceptance.term
    }

    /// Replaces the place, whose messages are in the logs.
    pub fn set(&self, place: &ReplicaPlace) {
        self.place.lock().clone_from(place);
    }

    /// Notes a place that the leader announced.
    pub fn note_announced(&self, last: LogPlace) {
        self.announced.store(last, Ordering::Relaxed);
    }

    /// Returns the number of announced messages that this replica does not have.
    pub fn lag(&self) -> u64 {
        let last = self.place.lock().last;
        self.announced.load(Ordering::Relaxed).saturating_sub(last)
    }
}

#[derive(Serialize, Deserialize)]
struct PlaceContent {
    version: u32,
    created: String,
    place: LogPlace,
    epoch: String,
    term: Option<String>,
    next_record: Sequence,
    next_side: Sequence,
    chain: String,
}

/// The file. It is written behind the journal: a power cut may leave it older than the journal, never newer.
#[derive(Debug)]
pub struct PlaceFile {
    path: PathBuf,
    written: Option<ReplicaPlace>,
    /// Written once its records are synced.
    waiting: Option<ReplicaPlace>,
}

impl PlaceFile {
    /// Opens the file of this directory. Without a file, or with one that cannot be read, there is no place: the shared
    /// log is read from its first message.
    pub fn open(dir: &Path) -> io::Result<(Self, Option<ReplicaPlace>)> {
        let path = dir.join("place");
        let found = match state_file::read(&path) {
            Ok(bytes) => decode(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok((Self { path, written: found.clone(), waiting: None }, found))
    }

    /// Writes a place whose records are before the synced ends of the two logs: the current one, or one of an earlier
    /// call. Called about once a second.
    pub fn save(&mut self, current: &ReplicaPlace, synced: Sequence, synced_side: Sequence) -> io::Result<()> {
        // Places after the current one are of a shared log that has lost them.
        self.waiting.take_if(|waiting| waiting.last > current.last);
        // Under load the current place is always ahead of the sync, so an earlier one waits until it is covered.
        let due = [Some(current), self.waiting.as_ref()].into_iter().flatten();
        let due = due.filter(|place| place.is_within(synced, synced_side)).max_by_key(|place| place.last).cloned();
        let due = due.filter(|due| self.written.as_ref() != Some(due));
        if let Some(due) = due {
            state_file::write_atomic(&self.path, &encode(&due))?;
            self.waiting = None;
            self.written = Some(due);
        }
        if self.waiting.is_none() && self.written.as_ref() != Some(current) {
            self.waiting = Some(current.clone());
        }
        Ok(())
    }
}

fn encode(place: &ReplicaPlace) -> Vec<u8> {
    let ReplicaPlace { created, last, acceptance } = place;
    let content = PlaceContent {
        version: VERSION,
        created: created.clone(),
        place: *last,
        epoch: acceptance.epoch.to_string(),
        term: acceptance.term.map(|term| term.to_string()),
        next_record: acceptance.next_record,
        next_side: acceptance.next_side,
        chain: acceptance.chain.to_string(),
    };
    serde_json::to_vec(&content).expect("its fields are texts and numbers")
}

fn decode(bytes: &[u8]) -> Option<ReplicaPlace> {
    let content: PlaceContent = serde_json::from_slice(bytes).ok()?;
    let term = match content.term {
        Some(term) => Some(Term(u64::from_str_radix(&term, 16).ok()?)),
        None => None,
    };
    let chain: Chain = content.chain.parse().ok()?;
    let (next_record, next_side) = (content.next_record, content.next_side);
    let epoch = Epoch(u128::from_str_radix(&content.epoch, 16).ok()?);
    let acceptance = Acceptance { epoch, term, next_record, next_side, chain };
    (content.version == VERSION).then_some(ReplicaPlace { created: content.created, last: content.place, acceptance })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(last: LogPlace, next_record: Sequence, next_side: Sequence) -> ReplicaPlace {
        let start = ReplicaPlace::start("1".into(), Epoch(u128::MAX));
        let acceptance = Acceptance { next_record, next_side, term: Some(Term(9)), ..start.acceptance };
        ReplicaPlace { last, acceptance, ..start }
    }

    #[test]
    fn place_is_never_ahead_of_synced_records() {
        let dir = tempfile::tempdir().expect("a directory");
        let read = || PlaceFile::open(dir.path()).expect("readable").1;
        let (mut file, none) = PlaceFile::open(dir.path()).expect("readable");
        assert_eq!(none, None);
        // Current place, synced records of both logs, expected place in the file.
        for (last, next, synced, synced_side, expected) in [
            (5, 10, 9, 1, None),
            // The log grows faster than it is synced: an earlier place is written.
            (8, 20, 15, 1, Some(5)),
            (9, 30, 25, 1, Some(8)),
            (12, 40, 30, 1, Some(9)),
            (12, 40, 40, 0, Some(9)),
            (12, 40, 40, 1, Some(12)),
        ] {
            file.save(&place(last, next, 1), synced, synced_side).expect("written");
            assert_eq!(read().map(|place| place.last), expected, "{last}");
        }
        assert_eq!(read(), Some(place(12, 40, 1)));
    }

    #[test]
    fn unreadable_place_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let bytes = encode(&place(3, 4, 5));
        let text = String::from_utf8(bytes).expect("text");
        for damaged in
            ["", "{", &text.replace("\"version\":1", "\"version\":2"), &text.replace("chain\":\"", "chain\":\"x")]
        {
            std::fs::write(dir.path().join("place"), damaged).expect("written");
            assert_eq!(PlaceFile::open(dir.path()).expect("readable").1, None, "{damaged}");
        }
    }
}
