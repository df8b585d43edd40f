use super::UpstreamMessage;
use crate::model::UnixMillis;

/// All that was ready, up to `batch_bytes_max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageBatch {
    /// When the first of it came.
    pub received: UnixMillis,
    /// Messages in the order of the wire; also those that could not be taken.
    pub messages: Vec<UpstreamMessage>,
    /// Heartbeats.
    pub heartbeats: u32,
    /// Bytes that came, also of messages that are not complete yet.
    pub bytes: u64,
}

impl MessageBatch {
    /// True if a whole message or a heartbeat came. Malformed input, and a message that does not end, say nothing of the
    /// posts of their time: else a gap would be taken for closed by a 200 with a web page, or begin after what it lacks.
    pub fn is_sign_of_life(&self) -> bool {
        let is_whole = |message: &UpstreamMessage| !matches!(message, UpstreamMessage::Malformed { .. });
        self.heartbeats > 0 || self.messages.iter().any(is_whole)
    }
}
