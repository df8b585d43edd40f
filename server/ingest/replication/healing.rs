//! Appends again what the shared log has lost: its nodes were restored from an older copy, and the logs of this replica
//! have the rest.
//!
//! Every message is appended at exactly the end that the shared log shows, so a shared log that has lost nothing refuses it.
//! Bytes and places differ from those of the lost messages, and checkpoints are left out; records, their terms and
//! their sequences are the same. Replicas that have the records compare and pass over them.
//!
//! A block counts only in its term. The records of a term in the account's log come first, with its TERM record, then
//! those in the side log.

use bytes::Bytes;
use thiserror::Error;

use super::checkpoint::SharedCheckpoint;
use super::message::{head_of_block, head_of_checkpoint};
use super::place::ReplicaPlace;
use super::shared_appender::{SharedAppendFailure, SharedAppender};
use super::terms::{self, ListedTerm, TermListing};
use crate::journal::{Block, BlockError, ReadError, ReadItem, Reader, StoredBlockEncoder};
use crate::model::{KeyFilter, Record, Sequence, Term};
use crate::quorum::{BlockHead, Message, SharedIdentity, SharedKeys, Subject, Unavailable};

/// Bytes of the records of one block.
const BLOCK_BYTES: usize = 512 << 10;

/// Why the rest was not appended, or not all of it. What was appended counts.
#[derive(Debug, Error)]
pub enum HealingError {
    /// The shared log or its keys do not take it now, or another replica wrote.
    #[error("{0}")]
    Interrupted(String),
    /// The own logs cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A block cannot be encoded.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The shared log has no messages any more, and this replica has no records.
    #[error("the shared log was deleted, and this replica has no records to begin it again")]
    NoRecords,
    /// The own logs do not have all records that the shared log has lost.
    #[error("record {0} is trimmed or damaged, and the shared log has lost it")]
    Missing(Sequence),
}

impl From<Unavailable> for HealingError {
    fn from(error: Unavailable) -> Self {
        Self::Interrupted(error.to_string())
    }
}

impl From<SharedAppendFailure> for HealingError {
    fn from(failure: SharedAppendFailure) -> Self {
        Self::Interrupted(match failure {
            SharedAppendFailure::Pending(reason) => reason,
            SharedAppendFailure::Ended(end) => end.to_string(),
        })
    }
}

/// The logs of a replica, and where it is in the shared log.
pub(super) struct Healer<'a> {
    pub(super) appender: SharedAppender,
    pub(super) keys: &'a dyn SharedKeys,
    pub(super) identity: SharedIdentity,
    /// Name of this replica.
    pub(super) replica: &'a str,
    pub(super) log: &'a dyn Reader,
    pub(super) side: &'a dyn Reader,
    /// Records that were appended.
    pub(super) restored: u64,
}

/// True if these logs have records that the shared log does not have up to this place.
pub(super) fn is_ahead(log: &dyn Reader, side: &dyn Reader, place: &ReplicaPlace) -> bool {
    log.extent().next > place.acceptance.next_record || side.extent().next > place.acceptance.next_side
}

impl Healer<'_> {
    /// Appends the head of a log without messages, if it needs one, and all records after the place.
    pub(super) async fn run(&mut self, head: Option<&SharedCheckpoint>) -> Result<(), HealingError> {
        // A replica that begins with the head has to know its term.
        if let Some(term) = self.appender.place().acceptance.term {
            self.list(term).await?;
        }
        if let Some(checkpoint) = head {
            self.append(Subject::Checkpoint, checkpoint.encode(), &head_of_checkpoint(checkpoint)).await?;
        }
        let at = self.appender.place().acceptance;
        let mut log = Rest::new(at.epoch, self.log, at.next_record)?;
        let mut side = Rest::new(self.side.epoch(), self.side, at.next_side)?;
        let mut term = at.term;
        loop {
            self.append_term(Subject::Log, &mut log, term).await?;
            self.append_term(Subject::Side, &mut side, term).await?;
            let Some(next) = log.next_term()? else { break };
            self.list(next).await?;
            term = Some(next);
        }
        // A side log has no records of a term that the account's log does not have.
        if side.next < side.reader.extent().next { Err(HealingError::Missing(side.next)) } else { Ok(()) }
    }

    /// Appends the next records of one log, as far as they are of this term.
    async fn append_term(
        &mut self,
        subject: Subject,
        rest: &mut Rest<'_>,
        term: Option<Term>,
    ) -> Result<(), HealingError> {
        while let Some((block, next)) = rest.next_block(term)? {
            let epoch = self.appender.place().acceptance.epoch;
            self.append(subject, block.bytes().clone(), &head_of_block(epoch, &block)).await?;
            self.restored += next - rest.next;
            rest.next = next;
        }
        Ok(())
    }

    async fn append(&mut self, subject: Subject, payload: Bytes, head: &BlockHead) -> Result<(), HealingError> {
        let mut after = self.appender.place().acceptance;
        let message = Message { subject, chain: after.chain.after(subject, &payload), payload };
        after.accept(&message, head).map_err(|refusal| HealingError::Interrupted(refusal.to_string()))?;
        self.appender.append(&message).await?;
        self.appender.advance(&message, head).await;
        Ok(())
    }

    /// Lists a term again: the keys were restored with the log.
    async fn list(&self, term: Term) -> Result<(), HealingError> {
        let listed = ListedTerm::at(self.appender.place(), term, self.replica);
        let (begun, restored_to) = (self.log.terms(), self.log.extent().next);
        let listing = TermListing { listed: &listed, begun: &begun, restored_to, yields: None };
        terms::list_term(self.keys, self.identity, listing).await?;
        Ok(())
    }
}

/// The records of one log that the shared log does not have.
struct Rest<'a> {
    reader: &'a dyn Reader,
    encoder: StoredBlockEncoder,
    next: Sequence,
}

impl<'a> Rest<'a> {
    fn new(epoch: crate::model::Epoch, reader: &'a dyn Reader, next: Sequence) -> Result<Self, BlockError> {
        Ok(Self { reader, encoder: StoredBlockEncoder::new(epoch)?, next })
    }

    /// Returns the term of the next record.
    fn next_term(&self) -> Result<Option<Term>, HealingError> {
        Ok(self.read(1)?.first().map(|record| record.term))
    }

    /// Returns a block of the next records, which are of this term, and the sequence after them.
    fn next_block(&mut self, term: Option<Term>) -> Result<Option<(Block, Sequence)>, HealingError> {
        let records = self.read(BLOCK_BYTES)?;
        let count = records.iter().take_while(|record| Some(record.term) == term).count();
        if count == 0 {
            return Ok(None);
        }
        let block = self.encoder.encode(&records[..count])?;
        Ok(Some((block, self.next + count as u64)))
    }

    /// Reads the next records.
    fn read(&self, bytes_max: usize) -> Result<Vec<Record>, HealingError> {
        let extent = self.reader.extent();
        if self.next >= extent.next {
            return Ok(Vec::new());
        }
        if self.next < extent.earliest {
            return Err(HealingError::Missing(self.next));
        }
        let mut records = Vec::new();
        for item in self.reader.read(self.next, &KeyFilter::Always, bytes_max)?.items {
            match item {
                ReadItem::Record(record) if record.sequence == self.next + records.len() as u64 => records.push(record),
                // What comes before it is appended first.
                _ if !records.is_empty() => break,
                ReadItem::Record(_) | ReadItem::Damaged { .. } => return Err(HealingError::Missing(self.next)),
            }
        }
        Ok(records)
    }
}
