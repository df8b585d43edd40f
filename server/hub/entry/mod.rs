//! Log entries as sessions read them: encoded once, shared by all.
//!
//! Owns the kinds of entries, the wire form of an event (`encoding`) and encoded batches with their compressed variants
//! (`batch`). Does not own the storage of entries (`ring`, `cold`) or the messages around a batch (`grpc::encode`).
//!
//! Events that are published together are encoded contiguously into *slabs*, so that a run of them is one slice.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use self::compressed::CompressedVariants;
use crate::buffer_pool::BufferPool;
use crate::clock::Moment;
use crate::model::{
    Gap, Origin, Post, Record, RecordBody, Rule, RulesChange, Sequence, Skip, SkipReason, Term, TimeInterval,
    UnixMillis,
};
use crate::telemetry::stages::StageCell;

pub mod batch;
mod compressed;
mod encoding;
mod phase;
mod receipts;

use encoding::Layout;
pub use encoding::{EVENT_BYTES_MAX, event_bytes};
pub use phase::Phase;
pub use receipts::Receipts;

/// A record as sessions read it. A post is encoded once, and its bytes are shared by all sessions that receive it.
#[derive(Debug)]
pub struct Entry {
    /// Sequence of the record.
    pub sequence: Sequence,
    /// Term of the record.
    pub term: Term,
    /// Receive time.
    pub received: UnixMillis,
    /// When this process read it from a live connection; `None` for all other records.
    pub read_at: Option<Moment>,
    /// When the wake-up index was to be notified of it.
    pub notified: StageCell,
    /// Content of the record.
    pub kind: EntryKind,
}

/// Content of an entry.
#[derive(Debug)]
pub enum EntryKind {
    /// A POST or DELTA.
    Event(Event),
    /// A change of a gap.
    Gap(Gap),
    /// Messages that could not be accepted, or records that are damaged.
    Skip(Skip),
    /// A new term: not delivered.
    Term,
    /// A change of the account's rules.
    Rules(Arc<RulesChange>),
}

/// An encoded post.
#[derive(Debug)]
pub struct Event {
    /// Rules that matched; for a delta those of all arrivals.
    pub rules: Arc<[Rule]>,
    /// Rules of the previous record; deltas only.
    pub prior: Option<Arc<[Rule]>>,
    /// Origin of the post.
    pub origin: Origin,
    /// Creation time, if its id contains it.
    pub created: Option<UnixMillis>,
    /// The record of the same post in the other log (see [`Post::counterpart`]).
    pub counterpart: Option<Sequence>,
    /// The rules of the post in the other log (see [`Post::counterpart_rules`]).
    pub counterpart_rules: Option<Arc<[Rule]>>,
    /// The record of the same post before this one (see [`Post::previous`]).
    pub previous: Option<Sequence>,
    /// Encoded element of `EventBatch.events`, key and length included.
    pub wire: EncodedEvent,
    /// Compressed live batch of this event alone, created at first use.
    alone: OnceLock<Box<CompressedVariants>>,
}

/// The bytes of an event: a part of a slab shared with its neighbours.
#[derive(Clone, Debug)]
pub struct EncodedEvent {
    slab: Bytes,
    span: Range<usize>,
}

/// Maximum bytes of a slab, unless one event is larger. Limits the memory that a stalled session pins.
const SLAB_BYTES_MAX: usize = 64 << 10;

/// Slab buffers for reuse.
static SLABS: BufferPool = BufferPool::new(4 << 20);
/// Sizes of slabs that are reused; most single events are shorter.
const SLAB_BYTES_KEPT: Range<usize> = SLAB_BYTES_MAX / 2..SLAB_BYTES_MAX + 1;

fn new_slab(bytes: usize) -> Vec<u8> {
    if SLAB_BYTES_KEPT.contains(&bytes) { SLABS.acquire(bytes) } else { Vec::with_capacity(bytes) }
}

fn shared_slab(slab: Vec<u8>) -> Bytes {
    if SLAB_BYTES_KEPT.contains(&slab.len()) { SLABS.into_bytes(slab) } else { slab.into() }
}

/// Encodes records that are published together.
pub fn encode(records: Vec<Record>) -> Vec<Arc<Entry>> {
    encode_live(records, &Receipts::default())
}

/// Encodes records that are published together, with the moments of their receipt.
pub fn encode_live(records: Vec<Record>, receipts: &Receipts) -> Vec<Arc<Entry>> {
    let wires = wires(&records);
    let entry = |(record, wire): (Record, _)| {
        let read_at = receipts.read_at(record.sequence);
        Arc::new(Entry { read_at, ..Entry::new(record, wire) })
    };
    records.into_iter().zip(wires).map(entry).collect()
}

fn wires(records: &[Record]) -> Vec<EncodedEvent> {
    let layouts: Vec<_> = records.iter().map(|record| Layout::of(record.sequence, record)).collect();
    let mut wires = Vec::with_capacity(records.len());
    while wires.len() < layouts.len() {
        let (to, bytes) = slab_end(&layouts, wires.len());
        let mut slab = new_slab(bytes);
        let spans: Vec<_> = layouts[wires.len()..to].iter().map(|layout| layout.put(&mut slab)).collect();
        let slab = shared_slab(slab);
        let slabs = std::iter::repeat_n(slab, spans.len());
        wires.extend(slabs.zip(spans).map(|(slab, span)| EncodedEvent { slab, span }));
    }
    wires
}

/// Returns the end of the slab that starts with this record, and its bytes.
fn slab_end(layouts: &[Layout<'_>], from: usize) -> (usize, usize) {
    let mut bytes = layouts[from].len();
    let mut to = from + 1;
    while to < layouts.len() && bytes + layouts[to].len() <= SLAB_BYTES_MAX {
        bytes += layouts[to].len();
        to += 1;
    }
    (to, bytes)
}

impl EncodedEvent {
    /// Returns the bytes.
    pub fn bytes(&self) -> Bytes {
        self.slab.slice(self.span.clone())
    }

    /// Returns the number of bytes.
    pub fn byte_count(&self) -> usize {
        self.span.len()
    }

    /// Returns the bytes of the slab, which it keeps in memory.
    pub fn slab_bytes(&self) -> usize {
        self.slab.len()
    }

    /// Returns true if both are in one slab.
    pub fn is_contiguous_with(&self, other: &Self) -> bool {
        self.slab.as_ptr() == other.slab.as_ptr()
    }

    /// Extends this event by the next one if that follows it directly in the slab. Returns false if it does not.
    pub fn join(&mut self, next: &Self) -> bool {
        let joined = self.span.end == next.span.start && self.is_contiguous_with(next);
        if joined {
            self.span.end = next.span.end;
        }
        joined
    }
}

impl Entry {
    fn new(record: Record, wire: EncodedEvent) -> Self {
        let Record { sequence, term, received, body } = record;
        let kind = match body {
            // The sequencer accepts none; an earlier version with higher limits may have.
            RecordBody::Post(_) | RecordBody::Delta { .. } if wire.byte_count() == 0 => {
                let window = TimeInterval { from: received, to: Some(received) };
                EntryKind::Skip(Skip { reason: SkipReason::Oversized, count: 1, window })
            }
            RecordBody::Post(post) => EntryKind::Event(Event::new(post, None, wire)),
            RecordBody::Delta { prior, post } => EntryKind::Event(Event::new(post, Some(prior), wire)),
            RecordBody::Gap(gap) => EntryKind::Gap(gap),
            RecordBody::Skip(skip) => EntryKind::Skip(skip),
            RecordBody::Term => EntryKind::Term,
            RecordBody::Rules(change) => EntryKind::Rules(change),
        };
        Self { sequence, term, received, read_at: None, notified: StageCell::default(), kind }
    }

    /// Encodes a record of a side log: on the wire it has no sequence and no term.
    pub fn side(record: Record) -> Self {
        let mut slab = Vec::new();
        let span = Layout::of(0, &record).put(&mut slab);
        let wire = EncodedEvent { slab: slab.into(), span };
        Self { term: Term(0), ..Self::new(record, wire) }
    }

    /// Returns the receive time if the record came on the live stream: notices and recovered posts do not show how far
    /// upstream has delivered.
    pub fn streamed_at(&self) -> Option<UnixMillis> {
        self.event().filter(|event| event.origin != Origin::Recovery).map(|_| self.received)
    }

    /// Returns the post, if it is one.
    pub fn event(&self) -> Option<&Event> {
        match &self.kind {
            EntryKind::Event(event) => Some(event),
            EntryKind::Gap(_) | EntryKind::Skip(_) | EntryKind::Term | EntryKind::Rules(_) => None,
        }
    }

    /// Returns its bytes on the wire; 0 if it is no event.
    pub fn wire_bytes(&self) -> usize {
        self.event().map_or(0, |event| event.wire.byte_count())
    }

    /// Returns its approximate bytes in memory.
    pub fn bytes(&self) -> usize {
        const FIXED: usize = 256;
        let change = if let EntryKind::Rules(change) = &self.kind { change.bytes() } else { 0 };
        FIXED + self.wire_bytes() + change
    }
}

impl Event {
    fn new(post: Post, prior: Option<Arc<[Rule]>>, wire: EncodedEvent) -> Self {
        let created = post.id.created_at();
        let Post { rules, origin, counterpart, counterpart_rules, previous, .. } = post;
        Self { wire, rules, prior, origin, created, counterpart, counterpart_rules, previous, alone: OnceLock::new() }
    }

    /// Returns the compressed variants of the live batch of this event alone, shared by all sessions that receive only
    /// this event, whatever their filters.
    pub fn single_event_batch(&self) -> &CompressedVariants {
        self.alone.get_or_init(Box::default)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::model::{GapId, PostId};
    use crate::proto;

    /// A client could never pass such an event: its library accepts 4 MiB.
    #[test]
    fn event_beyond_bound_is_skipped() {
        let post = |bytes: usize, tag_bytes: usize| Post {
            id: PostId(1),
            rules: (0..1_000).map(|n| Rule { id: Some(n), tag: Some(format!("{n:0tag_bytes$}").into()) }).collect(),
            origin: Origin::Live,
            gap: None,
            counterpart: None,
            counterpart_rules: None,
            previous: None,
            json: Bytes::from(vec![b'a'; bytes]),
        };
        let record =
            |post| Record { sequence: 7, term: Term(1), received: UnixMillis(5), body: RecordBody::Post(post) };
        for (bytes, tag_bytes, is_deliverable) in [(1 << 20, 400, true), (1 << 20, 600, false), (2 << 20, 5, false)] {
            let (short, long) = (record(post(9, 5)), record(post(bytes, tag_bytes)));
            let estimated = event_bytes(&long.body.post().expect("one").json, &long.body.post().expect("one").rules);
            let entries = encode(vec![short.clone(), long, short]);
            assert!(entries[0].event().is_some() && entries[2].event().is_some());
            assert_eq!(entries[1].event().is_some(), is_deliverable, "{bytes} and {tag_bytes} bytes");
            assert_eq!(estimated <= EVENT_BYTES_MAX, is_deliverable);
            assert!(entries[1].wire_bytes() <= estimated.min(EVENT_BYTES_MAX + 16));
            if !is_deliverable {
                let EntryKind::Skip(skip) = &entries[1].kind else { panic!("{:?}", entries[1].kind) };
                assert_eq!((skip.reason, skip.count), (SkipReason::Oversized, 1));
            }
        }
    }

    #[test]
    fn entry_bytes_equal_batch_element() {
        let json = "{\"id_str\":\"1068540203504144386\",\"text\":\"\\u00e4 \u{1f355}\"}";
        let rules: Arc<[Rule]> = [
            Rule { id: Some(7), tag: Some("cats".into()) },
            Rule { id: Some(8), tag: Some("cats".into()) },
            Rule { id: None, tag: None },
        ]
        .into();
        let post = Post {
            id: PostId(1_068_540_203_504_144_386),
            rules: rules.clone(),
            origin: Origin::Recovery,
            gap: Some(GapId(3)),
            counterpart: None,
            counterpart_rules: None,
            previous: None,
            json: Bytes::from_static(json.as_bytes()),
        };
        let record = Record {
            sequence: 300,
            term: Term(1),
            received: UnixMillis(12_345),
            body: RecordBody::Delta { prior: rules[..1].into(), post },
        };
        let entries = encode(vec![record.clone(), record]);
        let wires = entries.iter().map(|entry| entry.event().expect("a post").wire.clone()).collect::<Vec<_>>();
        let mut both = wires[0].clone();
        assert!(both.join(&wires[1]), "neighbours in a slab are one run");
        assert!(!both.join(&wires[0]), "and others are not");
        let batch = proto::EventBatch::decode(both.bytes()).expect("a batch");
        assert_eq!(batch.events.len(), 2, "elements of a batch are put behind one another");
        let event = &batch.events[1];
        assert_eq!(event.json, json);
        assert_eq!((event.sequence, event.post_id), (300, 1_068_540_203_504_144_386));
        assert_eq!((event.tags.as_slice(), event.rules.len()), (&["cats".to_owned()][..], 3));
        assert_eq!(event.rules[2], proto::MatchedRule { id: 0, tag: None });
        assert_eq!((event.delta, event.gap_id.as_str(), event.origin()), (true, "g3", proto::Origin::Recovery));
        assert_eq!(event.event_time_ms, 1_543_594_811_689);
        let canonical = proto::EventBatch { events: vec![event.clone()], ..proto::EventBatch::default() };
        assert_eq!(canonical.encode_to_vec(), wires[1].bytes(), "it is what prost would write");
    }
}
