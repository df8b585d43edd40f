//! How fast a connection is read: bounds for the streams that a client opens, as rates.
//!
//! Opening and cancelling streams is normal, and so is a request that is malformed now and then; none of it may end the
//! other streams of the connection. So nothing is counted over the life of a connection: one that opens streams faster than
//! any client does is read more slowly, and TCP makes it wait.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::clock::{Clock, Moment};
use crate::grpc::Config;

/// Length of the HTTP/2 connection preface (RFC 9113, 3.4).
pub const PREFACE_BYTES: usize = 24;
/// Length of a frame's header (RFC 9113, 4.1).
const HEADER_BYTES: usize = 9;
/// The type of a HEADERS frame (RFC 9113, 6.2), which opens a stream.
const HEADERS: u8 = 1;

/// Bounds how many streams a connection opens per second.
pub struct StreamRateLimiter {
    frames: FrameScanner,
    /// Streams per second.
    rate: f64,
    /// Streams that may be opened at once after a pause.
    burst: f64,
    /// What may be opened now; below zero, reading pauses.
    left: f64,
    at: Moment,
    pause: Option<BoxFuture<'static, ()>>,
    clock: Clock,
}

impl StreamRateLimiter {
    /// With the bounds of these settings.
    pub fn new(config: &Config, clock: Clock) -> Self {
        let rate = f64::from(config.streams_per_second_max);
        // All streams of a connection may be opened at once.
        let burst = rate.max(f64::from(config.streams_per_connection_max));
        Self { frames: FrameScanner::default(), rate, burst, left: burst, at: clock.moment(), pause: None, clock }
    }

    /// Ready when the connection may be read.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(Pin::new(pause).poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    /// Counts the streams that these bytes open.
    pub fn take(&mut self, bytes: &[u8]) {
        let opened = self.frames.headers_in(bytes);
        if opened == 0 {
            return;
        }
        let now = self.clock.moment();
        let refilled = self.left + now.since(self.at).as_secs_f64() * self.rate;
        (self.left, self.at) = (refilled.min(self.burst) - f64::from(opened), now);
        if self.left < 0.0 {
            let (clock, wait) = (self.clock.clone(), std::time::Duration::from_secs_f64(-self.left / self.rate));
            self.pause = Some(async move { clock.sleep(wait).await }.boxed());
        }
    }
}

/// Follows the frames of a connection by their headers.
#[derive(Default)]
struct FrameScanner {
    /// Bytes of the preface that have come.
    preface: usize,
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that have come.
    begun: usize,
    /// Bytes of the payload that are still to come.
    payload: usize,
}

impl FrameScanner {
    /// How many HEADERS frames begin in these bytes. What is no HTTP/2 gives some number, and is refused elsewhere.
    fn headers_in(&mut self, mut bytes: &[u8]) -> u32 {
        let mut count = 0;
        let preface = bytes.len().min(PREFACE_BYTES - self.preface);
        self.preface += preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            let skipped = bytes.len().min(self.payload);
            self.payload -= skipped;
            bytes = &bytes[skipped..];
            let copied = bytes.len().min(HEADER_BYTES - self.begun);
            self.header[self.begun..self.begun + copied].copy_from_slice(&bytes[..copied]);
            self.begun += copied;
            bytes = &bytes[copied..];
            if self.begun == HEADER_BYTES {
                let [high, middle, low, kind, ..] = self.header;
                self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.begun = 0;
                count += u32::from(kind == HEADERS);
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::task::Waker;

    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let [.., high, middle, low] = u32::try_from(length).expect("short").to_be_bytes();
        [&[high, middle, low, kind, 0, 0, 0, 0, 1], vec![kind; length].as_slice()].concat()
    }

    proptest! {
        #[test]
        fn headers_are_counted_however_bytes_are_split(
            frames in prop::collection::vec((0_u8..10, 0_usize..40), 0..20),
            steps in prop::collection::vec(1_usize..30, 1..40),
        ) {
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            frames.iter().for_each(|(kind, length)| bytes.extend(frame(*kind, *length)));
            let (mut intake, mut counted, mut left) = (FrameScanner::default(), 0, bytes.as_slice());
            for step in steps.iter().cycle() {
                if left.is_empty() {
                    break;
                }
                let (piece, rest) = left.split_at(left.len().min(*step));
                counted += intake.headers_in(piece);
                left = rest;
            }
            prop_assert_eq!(counted as usize, frames.iter().filter(|(kind, _)| *kind == HEADERS).count());
        }
    }

    /// A burst of all streams that a connection may have is read at once; what is faster waits, and is not refused.
    #[test]
    fn streams_beyond_rate_pause_reading() {
        let config = Config { streams_per_second_max: 10, streams_per_connection_max: 100, ..Config::default() };
        let mut intake = StreamRateLimiter::new(&config, Clock::system());
        intake.take(&[0; PREFACE_BYTES]);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            assert!(intake.poll_ready(&mut cx).is_ready());
            intake.take(&frame(HEADERS, 5));
        }
        intake.take(&frame(HEADERS, 5).repeat(20));
        assert!(intake.pause.is_some() && intake.left < 0.0);
    }
}
