//! Length, payload, length, payload: the plain TCP row, and the floor, whose payloads begin with the time.

use std::time::Duration;

use super::{Fault, Wire, shared_clock};

/// Bytes of the time before a payload of the floor: nanoseconds of the shared clock.
pub const STAMP_BYTES: usize = 8;

/// Frames of a big-endian `u32` and so many bytes.
#[derive(Default)]
pub struct Plain {
    /// Length, and the stamp if there is one.
    head: Vec<u8>,
    left: usize,
    stamped: bool,
    greeted: bool,
    payload: u64,
    latencies: Vec<Duration>,
}

impl Plain {
    /// Frames whose payload begins with the time.
    pub fn stamped() -> Self {
        Self { stamped: true, ..Self::default() }
    }

    fn whole(&mut self) {
        let stamp: Option<[u8; STAMP_BYTES]> = self.head.get(4..).and_then(|stamp| stamp.try_into().ok());
        if let Some(stamp) = stamp {
            let sent = Duration::from_nanos(u64::from_be_bytes(stamp));
            self.latencies.push(shared_clock().saturating_sub(sent));
        }
        self.head.clear();
    }
}

impl Wire for Plain {
    fn take(&mut self, mut bytes: &[u8], _reply: &mut Vec<u8>) -> Result<u64, Fault> {
        let head = 4 + if self.stamped { STAMP_BYTES } else { 0 };
        let mut events = 0;
        while !bytes.is_empty() {
            if self.head.len() < head {
                let part = bytes.len().min(head - self.head.len());
                self.head.extend_from_slice(&bytes[..part]);
                bytes = &bytes[part..];
                if self.head.len() < head {
                    break;
                }
                let length: [u8; 4] = self.head[..4].try_into().expect("four bytes are four bytes");
                self.left = (u32::from_be_bytes(length) as usize).saturating_sub(head - 4);
                self.payload += self.left as u64;
            }
            let part = bytes.len().min(self.left);
            self.left -= part;
            bytes = &bytes[part..];
            if self.left == 0 {
                // The first frame is empty: it confirms the subscription.
                if self.greeted {
                    events += 1;
                }
                self.greeted = true;
                self.whole();
            }
        }
        Ok(events)
    }

    fn ready(&self) -> bool {
        self.greeted
    }

    fn payload(&self) -> Option<u64> {
        Some(self.payload)
    }

    fn latencies(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.latencies)
    }
}
