//! Whether a block continues a log, and the table of terms after it. Pure: every log that was fed with the same blocks
//! decides the same.

use super::error::Discontinuity;
use super::stored_block::Block;
use crate::model::{Epoch, Sequence, TermStart};

/// End of a log.
pub(super) struct LogEnd<'a> {
    pub(super) epoch: Epoch,
    /// Sequence of the next record.
    pub(super) next: Sequence,
    /// Table of terms. Terms that begin at `next` have no record yet, or lost all of them.
    pub(super) terms: &'a [TermStart],
}

impl LogEnd<'_> {
    /// Checks that the block belongs to this log and begins at its end.
    pub(super) fn check_place(epoch: Epoch, next: Sequence, block: &Block) -> Result<(), Discontinuity> {
        if block.epoch() != epoch {
            return Err(Discontinuity::Epoch { found: block.epoch(), own: epoch });
        }
        if block.first() != next {
            return Err(Discontinuity::Sequence { first: block.first(), next });
        }
        Ok(())
    }

    /// Checks that the block continues the log: it is of the newest term, or begins a new one. Returns the table of
    /// terms after it, if that changes.
    pub(super) fn check(&self, block: &Block) -> Result<Option<Vec<TermStart>>, Discontinuity> {
        Self::check_place(self.epoch, self.next, block)?;
        let term = block.term();
        let mut terms = started(self.terms, self.next);
        if terms.last().is_none_or(|newest| newest.term != term) {
            if terms.iter().any(|start| start.term == term) {
                return Err(Discontinuity::EndedTerm { term });
            }
            if !block.begins_term() {
                return Err(Discontinuity::NoTermRecord { term });
            }
            terms.push(TermStart { term, first: self.next });
        }
        Ok((terms != self.terms).then_some(terms))
    }
}

/// Returns the terms that have records before `next`.
pub(super) fn started(terms: &[TermStart], next: Sequence) -> Vec<TermStart> {
    terms.iter().copied().filter(|start| start.first < next).collect()
}
