//! What comes from a server, read as far as counting needs: how many whole events, and their bytes where they are known.

pub mod grpc;
pub mod http2;
pub mod lines;
pub mod nats;
pub mod plain;
pub mod resp;
pub mod tls;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Why a row cannot be measured.
pub type Fault = String;

/// One subscriber's stream of bytes.
pub trait Wire {
    /// Takes what was read, in any chunking; gives the events that are complete with it, and what to send back.
    fn take(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> Result<u64, Fault>;

    /// Whether the server has confirmed the subscription.
    fn ready(&self) -> bool;

    /// Bytes of the payloads so far, where the protocol contains them without decoding.
    fn payload(&self) -> Option<u64> {
        None
    }

    /// Events of what was kept for later, counted now; for streams that are too dear to decode while measuring.
    fn decode(&mut self) -> Result<u64, Fault> {
        Ok(0)
    }

    /// How long the events took, where each contains the time at which it was sent.
    fn latencies(&mut self) -> Vec<Duration> {
        Vec::new()
    }
}

/// The clock that all processes of the machine share.
pub fn shared_clock() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}
