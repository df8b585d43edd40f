//! The write half of an account's logs.

use super::dedup::DedupWriter;
use super::side_log_writer::SideLogWriter;
use crate::journal::Writer;
use crate::model::Term;

/// Write half of an account's logs. One owner has it at a time, and passes it on when its term ends.
pub struct WriteHalf {
    /// The log.
    pub writer: Box<dyn Writer>,
    /// Deduplication.
    pub seen: DedupWriter,
    /// Writer of the side log, for private gaps.
    pub side: SideLogWriter,
}

impl WriteHalf {
    /// Begins a new term in both logs.
    pub fn begin(&mut self, term: Term) {
        self.writer.begin(term);
        self.side.begin(term);
    }

    /// Begins a new term in both logs, which other replicas have, too.
    pub(super) fn begin_replicated(&mut self, term: Term) {
        self.writer.begin(term);
        self.side.begin_replicated(term);
    }
}
