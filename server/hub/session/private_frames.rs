//! How the holes of a session become frames.

use super::super::ReadError;
use super::super::entry::Kind;
use super::super::side_log::Delivery;
use super::delivery::Filling;
use super::private_gaps::Private;
use super::{Content, End, Ending, Frame, Phase, Subscription};
use crate::model::{Gap, Rule, Sequence};

impl Subscription {
    /// A frame for the holes, unless it is the account's log's turn.
    pub(super) fn private_turn(&mut self) -> Result<Option<Frame>, End> {
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

    /// The next frame for the holes, if there is something to tell or deliver at once.
    pub(super) fn private_frame(&mut self) -> Result<Option<Frame>, End> {
        let Some(mut private) = self.private.take_if(|private| private.has_open()) else { return Ok(None) };
        let content = self.private_content(&mut private);
        // Kept until the frame that tells its end: the token of that one is without it.
        self.private = Some(private).filter(|private| !private.is_empty());
        match content {
            Ok(content) => Ok(content.map(|content| self.frame(content))),
            Err(error) => {
                tracing::error!(account = %self.hub.account(), ?error, "failed to read side log, closing session");
                Err(self.end(Ending::JournalUnavailable))
            }
        }
    }

    fn private_content(&mut self, private: &mut Private) -> Result<Option<Content>, ReadError> {
        private.refresh(&self.hub);
        if let Some(gap) = private.notice(self.cursor) {
            return Ok(Some(self.tell_hole(gap)));
        }
        let mut content = self.pass_side(private);
        if content.is_none() && private.read_on(&self.hub, self.seat.filter().keys(), self.cursor)? {
            content = self.pass_side(private);
            if content.is_none() {
                private.go_on();
            }
        }
        // What was passed without a frame may have been all that an end waited for.
        Ok(content.or_else(|| private.notice(self.cursor).map(|gap| self.tell_hole(gap))))
    }

    fn tell_hole(&self, gap: Gap) -> Content {
        self.counters.notices.inc();
        self.counters.passed.inc();
        Content::Gap { sequence: 0, gap }
    }

    /// Passes the stretch up to the next frame; all of it if there is none in it.
    fn pass_side(&mut self, private: &mut Private) -> Option<Content> {
        let mut batch = Filling::default();
        while let Some(entry) = private.stretch.front().cloned() {
            let next = entry.sequence + 1;
            match &entry.kind {
                Kind::Event(event) => {
                    let matches = |rules: &[Rule]| self.seat.filter().matches(rules);
                    let delivery = private.select_side(entry.sequence, event, matches);
                    let repeated = delivery == Delivery::PossibleDuplicate || self.may_come_again(event);
                    if delivery == Delivery::Skip {
                        self.pass_side_to(private, next);
                    } else if batch.take(&entry, event, repeated, &self.pace) {
                        self.pass_side_to(private, entry.sequence);
                        self.counters.passed.inc_by(private.pass(next));
                        self.counters.delivered.inc();
                    } else {
                        break;
                    }
                }
                Kind::Skip(_) if !batch.is_empty() => break,
                Kind::Skip(skip) => {
                    private.stretch.pop_front();
                    self.pass_side_to(private, entry.sequence + skip.count);
                    self.counters.notices.inc();
                    self.counters.passed.inc();
                    return Some(Content::Skipped { sequence: 0, skip: skip.clone() });
                }
                Kind::Gap(_) | Kind::Term => self.pass_side_to(private, next),
            }
            private.stretch.pop_front();
        }
        if private.stretch.is_empty() {
            self.pass_side_to(private, private.stretch_next);
        }
        (!batch.is_empty()).then(|| self.batch(batch, Phase::Recovery))
    }

    /// Passes records that are for no hole, or do not match.
    fn pass_side_to(&mut self, private: &mut Private, sequence: Sequence) {
        let passed = private.pass(sequence);
        self.counters.passed.inc_by(passed);
        self.counters.filtered.inc_by(passed);
    }
}
