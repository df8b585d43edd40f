//! The table "Constants" of PROTOCOL.md.

use std::time::Duration;

pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(250);
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(30);
pub(crate) const JITTER: f64 = 0.5;
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_mins(10);
pub(crate) const HEARTBEATS_MISSED_MAX: u32 = 3;
pub(crate) const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;
pub(crate) const BATCH_BYTES_MAX: u32 = 1 << 20;
pub(crate) const HTTP2_FRAME_BYTES_MAX: u32 = 128 << 10;
pub(crate) const BATCH_EVENTS_MAX: u32 = 10_000;
pub(crate) const CURSOR_BYTES_MAX: usize = 1_024;
/// Contract violations after which a consumer ends, unless [`crate::ConsumerBuilder::violations_max`] sets another number.
pub const UNSOUND_MAX: u32 = 3;
/// Time in which a handler must finish the frame in hand after a stop, unless [`crate::ConsumerBuilder::stop_wait_max`] sets
/// another.
pub const STOP_WAIT_MAX: Duration = Duration::from_secs(5);
