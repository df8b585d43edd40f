//! Frames of private gaps.

use super::super::HubReadError;
use super::super::entry::EntryKind;
use super::super::side_log::Delivery;
use super::delivery::BatchBuilder;
use super::private_gaps::PrivateGapReader;
use super::{EndReason, Frame, FrameContent, Phase, Session, SessionEnd};
use crate::model::{Gap, Rule, Sequence};

impl Session {
    /// Returns a frame of the private gaps, unless it is the turn of the account's log.
    pub(super) fn poll_private_gaps(&mut self) -> Result<Option<Frame>, SessionEnd> {
        let Some(private) = self.private.as_mut().filter(|private| private.has_open()) else { return Ok(None) };
        if std::mem::take(&mut private.main_is_next) {
            return Ok(None);
        }
        let frame = self.private_frame()?;
        if let Some(private) = &mut self.private {
            private.main_is_next = frame.is_some();
        }
        Ok(frame)
    }

    /// Returns the next frame of the private gaps, if there is one.
    pub(super) fn private_frame(&mut self) -> Result<Option<Frame>, SessionEnd> {
        let Some(mut private) = self.private.take_if(|private| private.has_open()) else { return Ok(None) };
        let content = self.private_content(&mut private);
        // Kept until the frame that announces its end: the token of that frame does not contain it.
        self.private = Some(private).filter(|private| !private.is_empty());
        match content {
            Ok(content) => Ok(content.map(|content| self.frame(content))),
            Err(error) => {
                tracing::error!(account = %self.hub.account(), ?error, "failed to read side log, closing session");
                Err(self.end(EndReason::JournalUnavailable))
            }
        }
    }

    fn private_content(&mut self, private: &mut PrivateGapReader) -> Result<Option<FrameContent>, HubReadError> {
        private.refresh(&self.hub);
        if let Some(gap) = private.notice(self.cursor) {
            return Ok(Some(self.gap_frame(gap)));
        }
        let mut content = self.deliver_side_log(private);
        if content.is_none() && private.read_on(&self.hub, self.member.filter().keys(), self.cursor)? {
            content = self.deliver_side_log(private);
            if content.is_none() {
                private.continue_reading();
            }
        }
        // Records passed without a frame may have been all that an end waited for.
        Ok(content.or_else(|| private.notice(self.cursor).map(|gap| self.gap_frame(gap))))
    }

    fn gap_frame(&self, gap: Gap) -> FrameContent {
        self.counters.notices.inc();
        self.counters.passed.inc();
        FrameContent::Gap { sequence: 0, gap }
    }

    /// Delivers or passes the entries up to the next frame; all of them if there is no frame.
    fn deliver_side_log(&mut self, private: &mut PrivateGapReader) -> Option<FrameContent> {
        let mut batch = BatchBuilder::default();
        while let Some(entry) = private.pending.front().cloned() {
            let next = entry.sequence + 1;
            match &entry.kind {
                EntryKind::Event(event) => {
                    let matches = |rules: &[Rule]| self.member.filter().matches(rules);
                    let delivery = private.select_side(entry.sequence, event, matches);
                    let repeated = delivery == Delivery::PossibleDuplicate || self.may_come_again(event);
                    if delivery == Delivery::Skip {
                        self.advance_side_log_to(private, next);
                    } else if batch.take(&entry, event, repeated, &self.pace) {
                        self.advance_side_log_to(private, entry.sequence);
                        self.counters.passed.inc_by(private.advance_to(next));
                        self.counters.delivered.inc();
                    } else {
                        break;
                    }
                }
                EntryKind::Skip(_) if !batch.is_empty() => break,
                EntryKind::Skip(skip) => {
                    private.pending.pop_front();
                    self.advance_side_log_to(private, entry.sequence + skip.count);
                    self.counters.notices.inc();
                    self.counters.passed.inc();
                    return Some(FrameContent::Skipped { sequence: 0, skip: skip.clone() });
                }
                EntryKind::Gap(_) | EntryKind::Term | EntryKind::Rules(_) => self.advance_side_log_to(private, next),
            }
            private.pending.pop_front();
        }
        if private.pending.is_empty() {
            self.advance_side_log_to(private, private.next_pending);
        }
        (!batch.is_empty()).then(|| self.batch(batch, Phase::Recovery))
    }

    /// Passes records that belong to no gap or do not match.
    fn advance_side_log_to(&mut self, private: &mut PrivateGapReader, sequence: Sequence) {
        let passed = private.advance_to(sequence);
        self.counters.passed.inc_by(passed);
        self.counters.filtered.inc_by(passed);
    }
}
