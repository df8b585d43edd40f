use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::dedup::{self, DedupMaintenance, DedupWriter};
use crate::hub::Hub;
use crate::journal::{ReadError, ReadItem, Reader};
use crate::model::{Gap, GapState, KeyFilter, Origin, Record, RecordBody, Sequence, UnixMillis};

/// A log that cannot be taken up again.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The journal cannot be read.
    #[error("cannot read the journal to take it up again: {0}")]
    Journal(#[from] ReadError),
    /// The ids of seen posts cannot be used.
    #[error(transparent)]
    Dedup(#[from] dedup::DedupError),
}

/// Bytes of the journal that one read brings.
const CHUNK_BYTES: usize = 1 << 20;
/// A post in the ring takes about this much: the smallest that X sends, so that the ring is filled, not overfilled much.
const ENTRY_BYTES_MIN: usize = 2 << 10;

/// Where the hot tail of a ring of this size begins, about.
pub fn ring_start(reader: &dyn Reader, ring_bytes_max: usize) -> Sequence {
    let extent = reader.extent();
    let entries = (ring_bytes_max / ENTRY_BYTES_MIN) as u64;
    extent.next.saturating_sub(entries).max(extent.earliest)
}

/// Finds the gaps that a log tells of: as they stand, and for sessions where each was open.
pub fn restore_gaps(reader: &dyn Reader, hub: &Hub) -> Result<Vec<Gap>, RestoreError> {
    let extent = reader.extent();
    let (mut gaps, mut cursor, mut trimmed) = (BTreeMap::new(), extent.earliest, 0);
    // No post has a key of none: only blocks with notices are read.
    let keys = KeyFilter::AnyOf([].into());
    while cursor < extent.next {
        let chunk = reader.read(cursor, &keys, CHUNK_BYTES)?;
        for item in chunk.items {
            if let ReadItem::Record(Record { sequence, body: RecordBody::Gap(gap), .. }) = item {
                // The log has lost the record that opened it, at its beginning.
                let is_trimmed = !gaps.contains_key(&gap.id) && gap.state != GapState::Detected && extent.earliest > 1;
                trimmed += u64::from(is_trimmed);
                let opened = if is_trimmed { trimmed.min(extent.earliest - 1) } else { sequence };
                hub.gaps().note_opened(sequence, &gap, opened);
                gaps.insert(gap.id, gap);
            }
        }
        cursor = chunk.next;
    }
    Ok(gaps.into_values().collect())
}

/// When what a log has was received, as far as its end shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogTimes {
    /// The newest live post; the oldest record, if there are posts and none of them is a live one near the end. `None` for a
    /// log without posts: notices do not show that X ever delivered anything.
    pub post: Option<UnixMillis>,
    /// The oldest record.
    pub oldest: Option<UnixMillis>,
}

/// Takes a log up again after a start: notes the posts that no id file has, and fills the ring from `ring_start` on.
pub fn restore(
    reader: &Arc<dyn Reader>,
    seen: &mut DedupWriter,
    maintenance: &mut DedupMaintenance,
    hub: &Hub,
    ring_start: Sequence,
) -> Result<LogTimes, RestoreError> {
    let extent = reader.extent();
    let mut newest_live = None;
    // Files of ids are synced at once and the journal a second later: after a power cut they may know of lost records.
    maintenance.truncate_after(extent.next - 1)?;
    let covered = seen.covered();
    let mut has_posts = covered > 0;
    let mut cursor = (covered + 1).min(ring_start).max(extent.earliest);
    while cursor < extent.next {
        let chunk = reader.read(cursor, &KeyFilter::Always, CHUNK_BYTES)?;
        let mut hot = Vec::new();
        for item in chunk.items {
            match item {
                ReadItem::Record(record) => {
                    note(seen, &record, covered);
                    if let Some(post) = record.body.post() {
                        has_posts = true;
                        newest_live = Some(record.received).filter(|_| post.origin == Origin::Live).or(newest_live);
                    }
                    if record.sequence >= ring_start {
                        hot.push(record);
                    }
                }
                // The ring is dense: it begins behind the damage, and what is before it is read from the journal.
                ReadItem::Damaged { last, .. } => {
                    hot.clear();
                    hub.reset_ring((last + 1).max(ring_start));
                }
            }
        }
        hub.preload(hot);
        seen.commit();
        if seen.needs_maintenance() {
            maintenance.step(extent, &|_| 0)?;
        }
        cursor = chunk.next;
    }
    let oldest = extent.earliest_received;
    Ok(LogTimes { post: newest_live.or(oldest.filter(|_| has_posts)), oldest })
}

fn note(seen: &mut DedupWriter, record: &Record, covered: Sequence) {
    if record.sequence > covered
        && let Some(post) = record.body.post()
    {
        seen.stage(post.id, &post.rules, record.sequence, record.received);
    }
}

#[cfg(test)]
mod tests;
