use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::dedup::{self, DedupMaintenance, DedupWriter};
use crate::hub::Hub;
use crate::journal::{ReadError, ReadItem, Reader};
use crate::model::{Gap, GapState, KeyFilter, Origin, Record, RecordBody, Sequence, UnixMillis};

/// A log that cannot be restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The journal cannot be read.
    #[error("failed to restore from journal: {0}")]
    Journal(#[from] ReadError),
    /// The deduplication index failed.
    #[error(transparent)]
    Dedup(#[from] dedup::DedupError),
}

/// Bytes of one read of the journal.
const CHUNK_BYTES: usize = 1 << 20;
/// Minimum size of a post in the ring, the smallest that X sends, so that the ring is filled and not overfilled by
/// much.
const ENTRY_BYTES_MIN: usize = 2 << 10;

/// Returns the approximate first sequence of a ring of this size.
pub fn ring_start(reader: &dyn Reader, ring_bytes_max: usize) -> Sequence {
    let extent = reader.extent();
    let entries = (ring_bytes_max / ENTRY_BYTES_MIN) as u64;
    extent.next.saturating_sub(entries).max(extent.earliest)
}

/// Finds the gaps of a log: their last state, and for sessions where each was open. Notes the delays of its SKIP records.
pub fn restore_gaps(reader: &dyn Reader, hub: &Hub) -> Result<Vec<Gap>, RestoreError> {
    let extent = reader.extent();
    let (mut gaps, mut cursor, mut trimmed) = (BTreeMap::new(), extent.earliest, 0);
    // No post matches an empty filter: only blocks with notices are read.
    let keys = KeyFilter::AnyOf([].into());
    while cursor < extent.next {
        let chunk = reader.read(cursor, &keys, CHUNK_BYTES)?;
        for item in chunk.items {
            match item {
                ReadItem::Record(Record { sequence, body: RecordBody::Gap(gap), .. }) => {
                    // The log has trimmed the record that opened it. Ids are in the order of these records.
                    let is_older = gaps.last_key_value().is_some_and(|(newest, _)| *newest > gap.id);
                    let is_trimmed = !gaps.contains_key(&gap.id)
                        && (is_older || gap.state != GapState::Detected)
                        && extent.earliest > 1;
                    trimmed += u64::from(is_trimmed);
                    let opened = if is_trimmed { trimmed.min(extent.earliest - 1) } else { sequence };
                    hub.gaps().note_opened(sequence, &gap, opened);
                    gaps.insert(gap.id, gap);
                }
                ReadItem::Record(Record { received, body: RecordBody::Skip(skip), .. }) => {
                    hub.skip_delay().note(received, &skip);
                }
                _ => {}
            }
        }
        cursor = chunk.next;
    }
    Ok(gaps.into_values().collect())
}

/// When the records of a log were received, from its oldest and newest ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogTimes {
    /// The newest live post; the oldest record, if there are posts but no live one near the end. `None` for a log
    /// without posts: notices do not show that X ever delivered anything.
    pub post: Option<UnixMillis>,
    /// The oldest record.
    pub oldest: Option<UnixMillis>,
}

impl LogTimes {
    /// Notes appended records.
    pub fn note(&mut self, records: &[Record]) {
        self.oldest = self.oldest.or(records.first().map(|record| record.received));
        let live = |record: &&Record| record.body.post().is_some_and(|post| post.origin == Origin::Live);
        self.post = records.iter().rfind(live).map(|record| record.received).or(self.post);
    }
}

/// Restores a log at start: stages the posts that no id file has, and fills the ring from `ring_start` on.
pub fn restore(
    reader: &Arc<dyn Reader>,
    seen: &mut DedupWriter,
    maintenance: &mut DedupMaintenance,
    hub: &Hub,
    ring_start: Sequence,
) -> Result<LogTimes, RestoreError> {
    let extent = reader.extent();
    let mut newest_live = None;
    // Id files are synced at once, the journal a second later: after a power cut they may contain lost records.
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
                // The ring is dense: it begins after the damage, and earlier records are read from the journal.
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
