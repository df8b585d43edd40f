use thiserror::Error;

use crate::proto::SubscribeResponse;
use crate::proto::subscribe_response::Frame;

/// Validates the frames of one session against the delivery contract.
#[derive(Debug, Default)]
pub(crate) struct StreamValidator {
    started: bool,
    /// Events received in this session.
    events: u64,
    /// Sequence of the last event that was in the log.
    last: u64,
}

/// A violation of the delivery contract by the gateway. A retry would hide it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ContractViolation {
    /// The first frame is not `SessionStart`, or a later one is.
    #[error("the session does not begin with exactly one SessionStart")]
    Start,
    /// Events are missing or repeated between the gateway and here.
    #[error("the gateway counts {reported} delivered events in this session, the client {counted}")]
    Miscounted {
        /// Count of the gateway.
        reported: u64,
        /// Count of the client.
        counted: u64,
    },
    /// Events are not in the order of the log.
    #[error("event with sequence {after} arrived after sequence {before}")]
    OutOfOrder {
        /// Sequence of the earlier event.
        before: u64,
        /// Sequence of the later event.
        after: u64,
    },
}

impl StreamValidator {
    /// Validates the next frame of the session.
    pub(crate) fn validate(&mut self, response: &SubscribeResponse) -> Result<(), ContractViolation> {
        let is_start = matches!(response.frame, Some(Frame::SessionStart(_)));
        if is_start == self.started {
            return Err(ContractViolation::Start);
        }
        self.started = true;
        match &response.frame {
            Some(Frame::EventBatch(batch)) => {
                for event in &batch.events {
                    self.order(event.sequence)?;
                }
                self.events += batch.events.len() as u64;
                self.count(batch.delivered_total)
            }
            Some(Frame::Heartbeat(heartbeat)) => self.count(heartbeat.delivered_total),
            _ => Ok(()),
        }
    }

    fn order(&mut self, sequence: u64) -> Result<(), ContractViolation> {
        // 0: an event of a private gap, which is not in the log.
        if sequence == 0 {
            return Ok(());
        }
        if sequence <= self.last {
            return Err(ContractViolation::OutOfOrder { before: self.last, after: sequence });
        }
        self.last = sequence;
        Ok(())
    }

    fn count(&self, reported: u64) -> Result<(), ContractViolation> {
        if reported == self.events {
            return Ok(());
        }
        Err(ContractViolation::Miscounted { reported, counted: self.events })
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "tables of cases")]
mod tests {
    use super::*;
    use crate::proto::{Event, EventBatch, Heartbeat, SessionStart};

    fn start() -> Frame {
        Frame::SessionStart(SessionStart::default())
    }

    fn batch(sequences: &[u64], delivered_total: u64) -> Frame {
        let events = sequences.iter().map(|&sequence| Event { sequence, ..Event::default() }).collect();
        Frame::EventBatch(EventBatch { events, delivered_total, ..EventBatch::default() })
    }

    fn heartbeat(delivered_total: u64) -> Frame {
        Frame::Heartbeat(Heartbeat { delivered_total, ..Heartbeat::default() })
    }

    fn check(frames: Vec<Frame>, expected: Result<u64, ContractViolation>) {
        let mut audit = StreamValidator::default();
        let outcome = frames.into_iter().try_for_each(|frame| {
            audit.validate(&SubscribeResponse { frame: Some(frame), resume_token: String::new() })
        });
        assert_eq!(outcome.map(|()| audit.events), expected);
    }

    #[test]
    fn validator_checks_start_count_order() {
        check(vec![start(), batch(&[3, 5], 2), heartbeat(2), batch(&[0, 0, 9], 5)], Ok(5));
        check(vec![heartbeat(0)], Err(ContractViolation::Start));
        check(vec![start(), start()], Err(ContractViolation::Start));
        check(vec![start(), batch(&[3], 2)], Err(ContractViolation::Miscounted { reported: 2, counted: 1 }));
        check(
            vec![start(), batch(&[3], 1), heartbeat(0)],
            Err(ContractViolation::Miscounted { reported: 0, counted: 1 }),
        );
        check(vec![start(), batch(&[3, 3], 2)], Err(ContractViolation::OutOfOrder { before: 3, after: 3 }));
    }
}
