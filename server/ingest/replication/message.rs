//! What the bytes of a message of the shared log contain.

use bytes::Bytes;
use thiserror::Error;

use super::checkpoint::SharedCheckpoint;
use crate::journal::{Block, BlockError, StoredBlockDecoder};
use crate::model::{Epoch, Record};
use crate::quorum::{BlockHead, Subject};

/// Content of a message.
#[derive(Debug)]
pub enum SharedContent {
    /// A block of the account's log.
    Log(Block, Vec<Record>),
    /// A block of the side log.
    Side(Block, Vec<Record>),
    /// State from which a new leader continues.
    Checkpoint(SharedCheckpoint),
}

/// A message that cannot be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ContentError {
    /// The block cannot be read.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The checkpoint cannot be read.
    #[error("unsupported form of checkpoint; use a newer program")]
    Checkpoint,
}

/// Decodes the messages of one account.
pub struct MessageDecoder {
    epoch: Epoch,
    log: StoredBlockDecoder,
    side: StoredBlockDecoder,
}

impl MessageDecoder {
    /// Creates a decoder for the account's log and its side log.
    pub fn new(epoch: Epoch, side_epoch: Epoch) -> Result<Self, BlockError> {
        Ok(Self { epoch, log: StoredBlockDecoder::new(epoch)?, side: StoredBlockDecoder::new(side_epoch)? })
    }

    /// Verifies and decodes a message.
    pub fn decode(&mut self, subject: Subject, payload: &Bytes) -> Result<(BlockHead, SharedContent), ContentError> {
        Ok(match subject {
            Subject::Log => {
                let (block, records) = self.log.decode(payload.clone())?;
                (head_of_block(self.epoch, &block), SharedContent::Log(block, records))
            }
            Subject::Side => {
                let (block, records) = self.side.decode(payload.clone())?;
                (head_of_block(self.epoch, &block), SharedContent::Side(block, records))
            }
            Subject::Checkpoint => {
                let checkpoint = SharedCheckpoint::decode(payload).ok_or(ContentError::Checkpoint)?;
                (head_of_checkpoint(&checkpoint), SharedContent::Checkpoint(checkpoint))
            }
        })
    }
}

/// Returns what a block states about itself. A side log has an epoch of its own; its messages belong to the account's.
pub(super) fn head_of_block(epoch: Epoch, block: &Block) -> BlockHead {
    BlockHead {
        epoch,
        term: block.term(),
        first: block.first(),
        next: block.last() + 1,
        begins_term: block.begins_term(),
    }
}

/// Returns what a checkpoint states about itself.
pub(super) fn head_of_checkpoint(checkpoint: &SharedCheckpoint) -> BlockHead {
    let &SharedCheckpoint { epoch, term, next_record, next_side, .. } = checkpoint;
    BlockHead { epoch, term, first: next_record, next: next_side, begins_term: false }
}
