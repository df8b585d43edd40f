use crate::proto::SubscribeResponse;
use crate::proto::subscribe_response::Frame;

/// Checks the frames of one session against each other.
#[derive(Debug, Default)]
pub struct Audit {
    started: bool,
    events: u64,
    last_sequence: u64,
}

/// What was expected and what came: something between the gateway's log and here lost or repeated events.
#[derive(Debug, PartialEq, Eq)]
pub struct Unsound(pub String);

impl Audit {
    /// Takes the next frame of the session.
    pub fn check(&mut self, response: &SubscribeResponse) -> Result<(), Unsound> {
        let is_start = matches!(response.frame, Some(Frame::SessionStart(_)));
        if is_start == self.started {
            let words =
                if is_start { "a second SessionStart came" } else { "SessionStart expected, another frame came" };
            return Err(Unsound(words.into()));
        }
        self.started = true;
        match &response.frame {
            Some(Frame::EventBatch(batch)) => {
                for event in &batch.events {
                    self.check_sequence(event.sequence)?;
                }
                self.events += batch.events.len() as u64;
                self.check_total(batch.delivered_total)
            }
            Some(Frame::Heartbeat(heartbeat)) => self.check_total(heartbeat.delivered_total),
            _ => Ok(()),
        }
    }

    fn check_sequence(&mut self, sequence: u64) -> Result<(), Unsound> {
        // 0: a post read back for this consumer alone, not in the log.
        if sequence == 0 {
            return Ok(());
        }
        if sequence <= self.last_sequence {
            return Err(Unsound(format!("a sequence over {} expected, {sequence} came", self.last_sequence)));
        }
        self.last_sequence = sequence;
        Ok(())
    }

    fn check_total(&self, told: u64) -> Result<(), Unsound> {
        if told == self.events {
            return Ok(());
        }
        Err(Unsound(format!("the gateway has delivered {told} events in this session, {} came", self.events)))
    }
}

#[cfg(test)]
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

    fn is_sound(frames: impl IntoIterator<Item = Frame>) -> bool {
        let mut audit = Audit::default();
        frames
            .into_iter()
            .all(|frame| audit.check(&SubscribeResponse { frame: Some(frame), ..Default::default() }).is_ok())
    }

    #[test]
    fn a_session_is_held_to_its_start_its_count_and_its_order() {
        assert!(is_sound([start(), batch(&[3, 5], 2), heartbeat(2), batch(&[0, 0, 9], 5)]));
        assert!(!is_sound([heartbeat(0)]));
        assert!(!is_sound([start(), start()]));
        assert!(!is_sound([start(), batch(&[3], 2)]));
        assert!(!is_sound([start(), batch(&[3], 1), heartbeat(0)]));
        assert!(!is_sound([start(), batch(&[3, 3], 2)]));
    }
}
