//! Compares the shared log with what the machines of a run have and showed.

use super::machine::{IDENTITY, Machine};
use super::simulation::{Counts, World};
use crate::hub::test_util::EPOCH;
use crate::ingest::replication::{LocalLogs, MessageDecoder, SharedCheckpoint, SharedContent};
use crate::journal::{ReadItem, Reader};
use crate::model::{KeyFilter, Record, Sequence};
use crate::quorum::{Acceptance, Chain, Message};

/// What the shared log has, and from where on.
#[derive(Default)]
struct SharedContentRead {
    log: Vec<Record>,
    side: Vec<Record>,
    /// The first records that its first message can continue.
    first: Sequence,
    first_side: Sequence,
    checkpoint: Option<SharedCheckpoint>,
    /// It is known where that is.
    is_placed: bool,
    messages: u64,
    checkpoints: u64,
}

/// Reads the shared log independently of the machines.
async fn read_shared(world: &World) -> SharedContentRead {
    let shared = world.cluster.replica("checker");
    let mut decoder = MessageDecoder::new(IDENTITY.epoch, IDENTITY.side_epoch).expect("a decoder");
    let stored_messages = shared.log.read(1, usize::MAX).await.expect("no faults");
    let mut read = SharedContentRead { first: 1, first_side: 1, ..SharedContentRead::default() };
    let mut at = Some(Acceptance::new(EPOCH)).filter(|_| stored_messages.first().is_none_or(|first| first.place == 1));
    for (n, stored) in stored_messages.iter().enumerate() {
        let Message { subject, chain, payload } = &stored.message;
        let (head, content) = decoder.decode(*subject, payload).expect("readable");
        let is_continued = || {
            let next = &stored_messages.get(n + 1)?.message;
            (chain.after(next.subject, &next.payload) == next.chain).then_some(())
        };
        if let SharedContent::Checkpoint(SharedCheckpoint { term, next_record, next_side, .. }) = content
            && ((at.is_none() && is_continued().is_some())
                || (n == 0 && Chain::START.after(*subject, payload) == *chain))
        {
            // The first message that states where it is.
            (read.first, read.first_side) = (next_record, next_side);
            at = Some(Acceptance { epoch: EPOCH, term: Some(term), next_record, next_side, chain: *chain });
            continue;
        }
        let Some(at) = &mut at else { continue };
        let accepted = at.accept(&stored.message, &head);
        if accepted.is_err() && world.may_lose_records() {
            continue;
        }
        assert_eq!(accepted, Ok(()), "a message of an older leader was stored");
        match content {
            SharedContent::Log(_, records) => read.log.extend(records),
            SharedContent::Side(_, records) => read.side.extend(records),
            SharedContent::Checkpoint(it) => {
                read.checkpoints += 1;
                read.checkpoint = Some(it);
            }
        }
    }
    read.messages = stored_messages.len() as u64;
    read.is_placed = at.is_some() && !stored_messages.is_empty();
    read
}

/// Compares the shared log with what the machines have and showed.
pub(super) async fn check(world: &World, machines: &[Machine]) -> Counts {
    let shared = read_shared(world).await;
    let SharedContentRead { log, side, checkpoint, .. } = &shared;
    tracing::info!(
        first = shared.first, records = log.len(), messages = shared.messages, is_placed = shared.is_placed,
        info = ?world.cluster.replica("checker").log.info().await, "shared log"
    );
    let mut counts = *world.counts.lock();
    assert!(shared.is_placed || world.conditions.deletions, "the shared log has no start");
    for machine in machines {
        let LocalLogs { hub, logs, .. } = &machine.local;
        let own = read_all(&**hub.reader());
        tracing::info!(machine = machine.name, records = own.len(), next = hub.next(), place = ?machine.place, "machine");
        if shared.is_placed {
            assert!(!machine.is_empty, "{} is filled", machine.name);
            assert_equal(&own, log, shared.first, "log");
            assert_equal(&read_all(&**hub.side().reader()), side, shared.first_side, "side log");
            assert_eq!(hub.next(), shared.first + log.len() as u64, "all of it is published by {}", machine.name);
        }
        for post in own.iter().filter_map(|record| record.body.post()) {
            assert!(logs.seen.known(post.id).expect("in memory").is_some(), "an id is unknown");
        }
        if !shared.is_placed {
            // All checkpoints were removed, and no leader wrote one since: the machines keep what they have.
            continue;
        }
        // What is older than the shared log is the same, too.
        let first = read_all(&**machines[0].local.hub.reader());
        assert_equal(&own, &first, first.first().map_or(0, |record| record.sequence), "older log");
    }
    let newest = machines.iter().filter_map(|machine| machine.local.checkpoint.as_ref());
    assert!(newest.into_iter().all(|own| own.epoch == EPOCH));
    assert!(checkpoint.is_none() || machines.iter().any(|machine| machine.local.checkpoint == *checkpoint));
    let shown = world.shown.lock();
    for (sequence, record) in shown.iter() {
        let found = machines.iter().find_map(|machine| record_of(&**machine.local.hub.reader(), *sequence));
        let is_lost = world.may_lose_records() && found.as_ref().is_none_or(|found| found.term != record.term);
        assert!(found.as_ref() == Some(record) || is_lost, "an exposed record is missing: {record:?}, {found:?}");
        counts.lost += u64::from(is_lost);
    }
    let found = &world.found;
    (counts.passed_over, counts.rewound) = (found.passed_over.get(), found.rollbacks.get());
    counts.restored = found.restored.get();
    let faults = world.cluster.fault_counts();
    (counts.lost_answers, counts.late_requests) = (faults.lost_answers, faults.late_requests);
    counts.repeated_requests = faults.repeated_requests;
    counts.shown = shown.len() as u64;
    counts.heads = u64::from(shared.first > 1);
    (counts.messages, counts.checkpoints) = (shared.messages, shared.checkpoints);
    counts.side_records = side.len() as u64;
    counts
}

fn record_of(reader: &dyn Reader, sequence: Sequence) -> Option<Record> {
    let extent = reader.extent();
    let is_there = (extent.earliest..extent.next).contains(&sequence);
    let chunk = is_there.then(|| reader.read(sequence, &KeyFilter::Always, 1).expect("readable"))?;
    match chunk.items.into_iter().next() {
        Some(ReadItem::Record(record)) if record.sequence == sequence => Some(record),
        _ => None,
    }
}

pub(super) fn read_all(reader: &dyn Reader) -> Vec<Record> {
    let chunk = reader.read(reader.extent().earliest, &KeyFilter::Always, usize::MAX).expect("readable");
    let record = |item| match item {
        ReadItem::Record(record) => record,
        damaged @ ReadItem::Damaged { .. } => panic!("{damaged:?}"),
    };
    chunk.items.into_iter().map(record).collect()
}

/// Compares what two logs have in common, of which the other one begins at `first`. Names the first record that differs;
/// whole logs are too long to be read.
fn assert_equal(own: &[Record], other: &[Record], first: Sequence, name: &str) {
    let own_first = own.first().map_or(u64::MAX, |record| record.sequence);
    let (own, other) = (from(own, own_first, first), from(other, first, own_first));
    let differs = own.iter().zip(other).position(|(own, other)| own != other).map(|at| (&own[at], &other[at]));
    assert_eq!(differs, None, "a record of a replica's {name} differs");
    assert_eq!(own.len(), other.len(), "length of a replica's {name}");
}

/// Returns the records from this one on of a log that begins at `first`.
fn from(log: &[Record], first: Sequence, sequence: Sequence) -> &[Record] {
    log.get(sequence.saturating_sub(first) as usize..).unwrap_or(&[])
}
