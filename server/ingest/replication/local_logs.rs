//! The logs of a replica, to which it applies the messages of the shared log.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::checkpoint::SharedCheckpoint;
use super::message::SharedContent;
use crate::hub::Hub;
use crate::ingest::dedup::DedupWriter;
use crate::ingest::recovery::RecoveryJobs;
use crate::ingest::{LogTimes, WriteHalf, gap_tracker};
use crate::journal::{AppendError, Block, BlockError, ReadError, ReadItem, Reader, StoredBlockEncoder};
use crate::model::{KeyFilter, Record, RecordBody, Sequence};
use crate::quorum::SharedIdentity;
use crate::state_file;

/// Bytes of one read of records that are compared.
const READ_BYTES: usize = 1 << 20;

/// A message that could not be applied.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The journal does not take the block now. It is applied again later.
    #[error(transparent)]
    Journal(#[from] AppendError),
    /// A checkpoint could not be written. It is applied again later.
    #[error("failed to write checkpoint: {0}")]
    Checkpoint(std::io::Error),
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A part of a block cannot be encoded.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The journal has other records than the shared log.
    #[error("record {0} differs from the shared log; move the account's directory away to fill it again")]
    Diverged(Sequence),
    /// The shared log has another term than the journal from this record on: it lost the records of the journal, and no
    /// replica appended them again.
    #[error("record {0} and those after it are lost in the shared log, which continues with others")]
    TailLost(Sequence),
}

/// Write half of a replica's logs with their readers. One role has it at a time.
pub struct LocalLogs {
    /// Write half.
    pub logs: WriteHalf,
    /// Publishes to sessions, and reads.
    pub hub: Arc<Hub>,
    /// Directory of the checkpoints; `None` for logs in memory.
    pub dir: Option<PathBuf>,
    /// Recovery jobs, which show those of the leader.
    pub jobs: Option<Arc<RecoveryJobs>>,
    /// The newest checkpoint that was applied.
    pub checkpoint: Option<SharedCheckpoint>,
    /// When the records of the log were received.
    pub received: LogTimes,
}

impl LocalLogs {
    pub(super) fn identity(&self) -> SharedIdentity {
        SharedIdentity { epoch: self.hub.reader().epoch(), side_epoch: self.hub.side().reader().epoch() }
    }

    /// Applies a message that counts. What the logs have is compared and passed over.
    pub(super) fn apply(&mut self, content: SharedContent) -> Result<(), ApplyError> {
        match content {
            SharedContent::Log(block, records) => self.apply_log(&block, records),
            SharedContent::Side(block, records) => self.apply_side(&block, records),
            SharedContent::Checkpoint(checkpoint) => self.apply_checkpoint(checkpoint),
        }
    }

    fn apply_log(&mut self, block: &Block, records: Vec<Record>) -> Result<(), ApplyError> {
        let Some((block, records)) = unknown_part(&**self.hub.reader(), block, records)? else { return Ok(()) };
        self.logs.writer.append_block(&block).map_err(diverged)?;
        self.received.note(&records);
        note(&mut self.logs.seen, &records);
        self.hub.publish(records);
        Ok(())
    }

    fn apply_side(&mut self, block: &Block, records: Vec<Record>) -> Result<(), ApplyError> {
        let side = self.hub.side();
        let Some((block, records)) = unknown_part(&**side.reader(), block, records)? else { return Ok(()) };
        self.logs.side.append_block(&block, &records, side).map_err(diverged)
    }

    /// A checkpoint from before the end of the log is older than the files, and is read again.
    fn apply_checkpoint(&mut self, checkpoint: SharedCheckpoint) -> Result<(), ApplyError> {
        if checkpoint.next_record < self.hub.reader().extent().next {
            return Ok(());
        }
        if let Some(dir) = &self.dir {
            for (name, bytes) in [("gaps.json", &checkpoint.gaps), ("jobs.json", &checkpoint.jobs)] {
                state_file::write_atomic(&dir.join(name), bytes).map_err(ApplyError::Checkpoint)?;
            }
        }
        gap_tracker::shared::follow(&self.hub, &checkpoint.gaps);
        if let Some(jobs) = &self.jobs {
            jobs.follow(&checkpoint.jobs);
        }
        self.checkpoint = Some(checkpoint);
        Ok(())
    }
}

/// A block with records that the log does not have, and these records.
type UnknownPart<'a> = (Cow<'a, Block>, Vec<Record>);

/// Compares the records that the log has, and returns the others. A leader that restores the tail of the shared log
/// writes other blocks with the same records, in which the log can end.
fn unknown_part<'a>(
    reader: &dyn Reader,
    block: &'a Block,
    mut records: Vec<Record>,
) -> Result<Option<UnknownPart<'a>>, ApplyError> {
    let next = reader.extent().next;
    if block.first() >= next {
        return Ok(Some((Cow::Borrowed(block), records)));
    }
    let others = records.split_off(records.partition_point(|record| record.sequence < next));
    compare(reader, &records)?;
    if others.is_empty() {
        return Ok(None);
    }
    let rest = StoredBlockEncoder::new(block.epoch())?.encode(&others)?;
    Ok(Some((Cow::Owned(rest), others)))
}

/// Returns the error of a block that counts and does not continue the own log.
fn diverged(error: AppendError) -> ApplyError {
    match error {
        AppendError::Discontinuous(crate::journal::Discontinuity::Sequence { next, .. }) => ApplyError::Diverged(next),
        other => ApplyError::Journal(other),
    }
}

/// Records the ids of appended posts.
fn note(seen: &mut DedupWriter, records: &[Record]) {
    for record in records {
        if let Some(post) = record.body.post() {
            seen.stage(post.id, &post.rules, record.sequence, record.received);
        }
    }
    seen.commit();
}

/// Compares records with the ones of the log. Trimmed and damaged records count as equal.
fn compare(reader: &dyn Reader, records: &[Record]) -> Result<(), ApplyError> {
    let Some(last) = records.last() else { return Ok(()) };
    let mut cursor = records[0].sequence.max(reader.extent().earliest);
    while cursor <= last.sequence {
        let read = match reader.read(cursor, &KeyFilter::Always, READ_BYTES) {
            Err(ReadError::Trimmed { earliest }) => {
                cursor = earliest;
                continue;
            }
            read => read?,
        };
        for item in &read.items {
            if let ReadItem::Record(own) = item
                && let Some(shared) = records.iter().find(|record| record.sequence == own.sequence)
                && own != shared
            {
                // Logs that have lost their tail part where a term begins in one of them.
                let is_tail = [own, shared].iter().any(|record| matches!(record.body, RecordBody::Term));
                let error = if is_tail { ApplyError::TailLost } else { ApplyError::Diverged };
                return Err(error(own.sequence));
            }
        }
        if read.next <= cursor {
            return Err(ApplyError::Diverged(cursor));
        }
        cursor = read.next;
    }
    Ok(())
}
