//! Events that go out together, put together once for all sessions that get the same.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};

pub use super::compressed::{CompressedBatch, CompressedVariants};
use super::phase::Phase;
use super::{EncodedEvent, Entry, Event};
use crate::model::Term;

/// Events that go out together: their bytes are gathered, never encoded again, and what is made of them for one encoding is
/// made once.
#[derive(Debug)]
pub struct EncodedBatch {
    /// The events, in order; at least one.
    pub entries: Vec<Arc<Entry>>,
    /// Where they come from.
    pub phase: Phase,
    /// Writer that all of them belong to.
    pub term: Term,
    /// They may have been delivered to the subscription before.
    pub possible_duplicate: bool,
    slices: Arc<[Bytes]>,
    bytes: usize,
    /// Unless it is one event's: then they are kept there.
    cells: OnceLock<Box<CompressedVariants>>,
}

/// Runs shorter than this are put together: a write for each costs more than a copy for all.
const RUN_BYTES_MIN: usize = 8 << 10;

impl EncodedBatch {
    /// Of these events, which go to `readers` sessions. For more than one, short runs are copied together, once.
    pub fn new(
        entries: Vec<Arc<Entry>>,
        phase: Phase,
        (term, possible_duplicate): (Term, bool),
        readers: usize,
    ) -> Self {
        let runs = coalesce(&entries);
        let bytes = runs.iter().map(EncodedEvent::byte_count).sum();
        let scattered = runs.len() > 1 && bytes / runs.len() < RUN_BYTES_MIN;
        let slices = if readers > 1 && scattered {
            [copied(&runs, bytes)].into()
        } else {
            runs.iter().map(EncodedEvent::bytes).collect()
        };
        Self { entries, phase, term, possible_duplicate, slices, bytes, cells: OnceLock::new() }
    }

    /// The bytes of the events, behind one another.
    pub fn slices(&self) -> &Arc<[Bytes]> {
        &self.slices
    }

    /// How many they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is made of it once.
    pub fn cells(&self) -> &CompressedVariants {
        let alone = match &self.entries[..] {
            [one] if self.phase == Phase::Live && !self.possible_duplicate => one.event(),
            _ => None,
        };
        alone.map_or_else(|| &**self.cells.get_or_init(Box::default), Event::single_event_batch)
    }
}

/// Neighbours in a slab are one run.
fn coalesce(entries: &[Arc<Entry>]) -> Vec<EncodedEvent> {
    let mut runs: Vec<EncodedEvent> = Vec::new();
    for event in entries.iter().filter_map(|entry| entry.event()) {
        if !runs.last_mut().is_some_and(|run| run.join(&event.wire)) {
            runs.push(event.wire.clone());
        }
    }
    runs
}

fn copied(runs: &[EncodedEvent], bytes: usize) -> Bytes {
    let mut all = BytesMut::with_capacity(bytes);
    runs.iter().for_each(|run| all.extend_from_slice(&run.bytes()));
    all.freeze()
}
