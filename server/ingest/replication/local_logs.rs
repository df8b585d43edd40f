//! The logs of a replica, to which it applies the messages of the shared log.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::checkpoint::SharedCheckpoint;
use super::message::SharedContent;
use crate::hub::Hub;
use crate::ingest::dedup::DedupWriter;
use crate::ingest::recovery::RecoveryJobs;
use crate::ingest::{LogTimes, WriteHalf, gap_tracker};
use crate::journal::{AppendError, Block, ReadError, ReadItem, Reader};
use crate::model::{KeyFilter, Record, Sequence};
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
    /// The journal has other records than the shared log.
    #[error(
        "record {0} of the journal differs from the shared log; move the account's directory away to fill it again"
    )]
    Diverged(Sequence),
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
    /// Applies a message that counts. What the logs have is compared and passed over.
    pub(super) fn apply(&mut self, content: SharedContent) -> Result<(), ApplyError> {
        match content {
            SharedContent::Log(block, records) => self.apply_log(&block, records),
            SharedContent::Side(block, records) => self.apply_side(&block, &records),
            SharedContent::Checkpoint(checkpoint) => self.apply_checkpoint(checkpoint),
        }
    }

    fn apply_log(&mut self, block: &Block, records: Vec<Record>) -> Result<(), ApplyError> {
        if block.first() < self.hub.reader().extent().next {
            return compare(&**self.hub.reader(), &records);
        }
        self.logs.writer.append_block(block).map_err(diverged)?;
        self.received.note(&records);
        note(&mut self.logs.seen, &records);
        self.hub.publish(records);
        Ok(())
    }

    fn apply_side(&mut self, block: &Block, records: &[Record]) -> Result<(), ApplyError> {
        let side = self.hub.side();
        if block.first() < side.reader().extent().next {
            return compare(&**side.reader(), records);
        }
        self.logs.side.append_block(block, records, side).map_err(diverged)
    }

    fn apply_checkpoint(&mut self, checkpoint: SharedCheckpoint) -> Result<(), ApplyError> {
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
                return Err(ApplyError::Diverged(own.sequence));
            }
        }
        if read.next <= cursor {
            // The block is longer than the log: it was written by another leader.
            return Err(ApplyError::Diverged(cursor));
        }
        cursor = read.next;
    }
    Ok(())
}
