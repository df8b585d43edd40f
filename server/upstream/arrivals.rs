use super::UpstreamMessage;
use crate::clock::Moment;
use crate::model::UnixMillis;

/// Messages and heartbeats that were ready at one poll, up to `batch_bytes_max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageBatch {
    /// When the first of them arrived.
    pub received: UnixMillis,
    /// When they were read from the socket: what latency is measured from.
    pub read_at: Moment,
    /// Messages in wire order, including malformed ones.
    pub messages: Vec<UpstreamMessage>,
    /// Number of heartbeats.
    pub heartbeats: u32,
    /// Bytes received, including those of incomplete messages.
    pub bytes: u64,
}

impl MessageBatch {
    /// True if a complete message or a heartbeat arrived. Malformed input and an unfinished message do not count: they
    /// prove nothing about the posts of their time. Otherwise a 200 with a web page would close a gap, or move its
    /// start.
    pub fn is_sign_of_life(&self) -> bool {
        let is_whole = |message: &UpstreamMessage| !matches!(message, UpstreamMessage::Malformed { .. });
        self.heartbeats > 0 || self.messages.iter().any(is_whole)
    }
}
