//! Encoded batches, shared by all sessions that receive the same events.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};

pub use super::compressed::{CompressedBatch, CompressedVariants};
use super::phase::Phase;
use super::{EncodedEvent, Entry, Event};
use crate::model::{Term, UnixMillis};

/// Events that are delivered together. Their encoded bytes are gathered, never encoded again, and each compressed
/// variant is created once.
#[derive(Debug)]
pub struct EncodedBatch {
    /// The events, in order; at least one.
    pub entries: Vec<Arc<Entry>>,
    /// Delivery phase.
    pub phase: Phase,
    /// Term of all of them.
    pub term: Term,
    /// True if some may have been delivered to the subscription before.
    pub possible_duplicate: bool,
    /// Latest creation time of its posts.
    pub newest_created: Option<UnixMillis>,
    slices: Arc<[Bytes]>,
    bytes: usize,
    /// Compressed variants; those of a single event are stored in the event.
    cells: OnceLock<Box<CompressedVariants>>,
}

/// Shorter runs are copied together: a write for each costs more than one copy.
const RUN_BYTES_MIN: usize = 8 << 10;

impl EncodedBatch {
    /// Creates a batch for `readers` sessions. For more than one, short runs are copied together once.
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
        let newest_created = entries.iter().filter_map(|entry| entry.event()?.created).max();
        Self { entries, phase, term, possible_duplicate, newest_created, slices, bytes, cells: OnceLock::new() }
    }

    /// Returns the bytes of the events in order.
    pub fn slices(&self) -> &Arc<[Bytes]> {
        &self.slices
    }

    /// Returns the number of bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the compressed variants.
    pub fn cells(&self) -> &CompressedVariants {
        let alone = match &self.entries[..] {
            [one] if self.phase == Phase::Live && !self.possible_duplicate => one.event(),
            _ => None,
        };
        alone.map_or_else(|| &**self.cells.get_or_init(Box::default), Event::single_event_batch)
    }
}

/// Joins events that are adjacent in a slab.
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
