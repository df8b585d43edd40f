//! The leader's writer: each batch goes to the shared log, and then to the own log. One message at a time.

use bytes::Bytes;
use thiserror::Error;

use super::WriterConfig;
use super::checkpoint::SharedCheckpoint;
use super::counters::FollowCounters;
use super::last_counted::LastCounted;
use super::message::{head_of_block, head_of_checkpoint};
use super::place::{ReplicaPlace, TermPlace};
use super::shared_appender::{LeadershipEnd, SharedAppendFailure, SharedAppender, WritePermit};
use crate::clock::{Clock, Moment};
use crate::hub::SideLog;
use crate::ingest::side_log_writer::SideLogWriter;
use crate::journal::{AppendError, Block, Reader, Writer};
use crate::model::{Record, Term};
use crate::quorum::{BlockHead, Message, Quorum, Subject};

/// Failure of an append.
#[derive(Debug, Error)]
pub enum ReplicatedAppendError {
    /// Not in the own log. The caller appends the same batch again, unchanged.
    #[error(transparent)]
    Journal(#[from] AppendError),
    /// The leadership has ended, and the batch was not exposed.
    #[error(transparent)]
    Ended(#[from] LeadershipEnd),
}

/// Writes the logs of a leader.
pub struct ReplicatedWriter {
    appender: SharedAppender,
    clock: Clock,
    config: WriterConfig,
    term: Term,
    /// The message that is not in the own log yet.
    pending: Option<PendingMessage>,
}

struct PendingMessage {
    message: Message,
    head: BlockHead,
    /// Set for blocks.
    block: Option<Block>,
    /// The shared log has it.
    is_stored: bool,
    /// Since when the own journal refuses it.
    refused_since: Option<Moment>,
}

impl ReplicatedWriter {
    /// Creates the writer of a leadership that begins after `place`.
    pub(super) fn new(
        (shared, clock, config): (Quorum, Clock, WriterConfig),
        counters: FollowCounters,
        permit: WritePermit,
        term: Term,
        place: (ReplicaPlace, LastCounted),
    ) -> Self {
        let appender = SharedAppender::new((shared, clock.clone(), counters), permit, config.append_patience, place);
        Self { appender, clock, config, term, pending: None }
    }

    /// Returns the place after the last message that is in the own logs, from which a follower continues.
    pub fn place(&self) -> &ReplicaPlace {
        self.appender.place()
    }

    /// Returns the last message of the own logs, which is of this leadership after its first append.
    pub(super) fn end(&self) -> TermPlace {
        TermPlace { term: self.term.0, last: self.place().last }
    }

    /// Appends a batch of the account's log. The first batch of a leadership begins with its TERM record. After
    /// [`ReplicatedAppendError::Journal`] the same batch has to be appended next.
    pub async fn append(&mut self, log: &mut dyn Writer, records: &[Record]) -> Result<(), ReplicatedAppendError> {
        if !self.is_pending(Subject::Log) {
            let block = log.encode(records)?;
            self.pending = Some(self.pending_block(Subject::Log, block));
        }
        self.store(|block| log.append_block(block)).await
    }

    /// Appends what is staged for the side log, and publishes it.
    pub async fn append_side(
        &mut self,
        side: &mut SideLogWriter,
        published: &SideLog,
    ) -> Result<(), ReplicatedAppendError> {
        if !self.is_pending(Subject::Side) {
            let Some(block) = side.encode()? else { return Ok(()) };
            self.pending = Some(self.pending_block(Subject::Side, block));
        }
        self.store(|block| side.append_encoded(block, published)).await
    }

    /// Appends the content of the files from which a new leader continues. `side` reads the side log.
    pub async fn append_checkpoint(
        &mut self,
        side: &dyn Reader,
        gaps: Bytes,
        jobs: Bytes,
    ) -> Result<(), ReplicatedAppendError> {
        if !self.is_pending(Subject::Checkpoint) {
            let at = self.place().acceptance;
            let (next_record, next_side) = (at.next_record, at.next_side);
            let side_term = side.terms().last().map(|newest| newest.term);
            let (epoch, term) = (at.epoch, self.term);
            let checkpoint = SharedCheckpoint { epoch, term, next_record, next_side, side_term, gaps, jobs };
            let payload = checkpoint.encode();
            self.pending = Some(self.pending(Subject::Checkpoint, payload, head_of_checkpoint(&checkpoint), None));
        }
        self.store(|_| Ok(())).await
    }

    /// True once the TERM record of the leadership is appended.
    pub fn has_begun(&self) -> bool {
        self.place().acceptance.term == Some(self.term)
    }

    /// Returns the kind of the message that has to be appended next, because its outcome is not known.
    pub fn pending_subject(&self) -> Option<Subject> {
        self.pending.as_ref().map(|pending| pending.message.subject)
    }

    /// True if a message of this kind is to be repeated. Panics if one of another kind is: it has to come first.
    fn is_pending(&self, subject: Subject) -> bool {
        let Some(pending) = &self.pending else { return false };
        assert_eq!(pending.message.subject, subject, "a message of unknown outcome is repeated before the next one");
        true
    }

    fn pending_block(&self, subject: Subject, block: Block) -> PendingMessage {
        let head = head_of_block(self.place().acceptance.epoch, &block);
        self.pending(subject, block.bytes().clone(), head, Some(block))
    }

    fn pending(&self, subject: Subject, payload: Bytes, head: BlockHead, block: Option<Block>) -> PendingMessage {
        let mut after = self.place().acceptance;
        let message = Message { subject, chain: after.chain.after(subject, &payload), payload };
        // Checked before it is sent: a message that no replica accepts would make the log useless for this leader.
        after.accept(&message, &head).expect("the writer continues its own log");
        PendingMessage { message, head, block, is_stored: false, refused_since: None }
    }

    /// Stores the pending message in the shared log, and its block with `apply`.
    async fn store(
        &mut self,
        apply: impl FnOnce(&Block) -> Result<(), AppendError>,
    ) -> Result<(), ReplicatedAppendError> {
        let Self { appender, pending, clock, config, .. } = self;
        let Some(own) = pending else { return Ok(()) };
        if !own.is_stored {
            match appender.append(&own.message).await {
                Ok(()) => own.is_stored = true,
                Err(SharedAppendFailure::Ended(end)) => return Err(end.into()),
                Err(SharedAppendFailure::Pending(reason)) => {
                    return Err(AppendError::Unknown(std::io::Error::other(reason)).into());
                }
            }
        }
        if let Some(Err(error)) = own.block.as_ref().map(apply) {
            let now = clock.moment();
            let since = *own.refused_since.get_or_insert(now);
            if now.since(since) >= config.append_patience {
                return Err(LeadershipEnd::JournalUnavailable(error.to_string()).into());
            }
            return Err(error.into());
        }
        let PendingMessage { message, head, .. } = pending.take().expect("it is there");
        appender.advance(&message, &head).await;
        Ok(())
    }
}
