//! The table "Constants" of PROTOCOL.md.

use std::time::Duration;

pub const BACKOFF_MIN: Duration = Duration::from_millis(250);
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
pub const JITTER: f64 = 0.5;
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
pub const HEARTBEATS_MISSED_MAX: u32 = 3;
pub const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
pub const FRAME_BYTES_MAX: usize = 16 << 20;
pub const BATCH_BYTES_MAX: u32 = 1 << 20;
pub const HTTP2_FRAME_BYTES_MAX: u32 = 128 << 10;
pub const BATCH_EVENTS_MAX: u32 = 10_000;
pub const UNSOUND_MAX: u32 = 3;
pub const STOP_WAIT_MAX: Duration = Duration::from_secs(5);
pub const CURSOR_BYTES_MAX: usize = 1_024;
