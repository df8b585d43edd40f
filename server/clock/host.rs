//! Time sources of the host.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Elapsed time of the host, including suspension.
#[cfg(target_os = "linux")]
pub(super) fn host_elapsed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Elapsed time since the first call. On systems other than Linux it may stop while the host is suspended.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "the clock is where time is read")]
pub(super) fn host_elapsed() -> Duration {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(std::time::Instant::now).elapsed()
}

#[expect(clippy::disallowed_methods, reason = "the clock is where time is read")]
pub(super) fn system_now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Elapsed time of the current tokio runtime: in a paused one it advances with its timers.
#[cfg(test)]
pub(super) fn runtime_elapsed() -> Duration {
    static FIRST: std::sync::OnceLock<tokio::time::Instant> = std::sync::OnceLock::new();
    let now = tokio::time::Instant::now();
    now.saturating_duration_since(*FIRST.get_or_init(|| now)) + Duration::from_secs(86_400)
}
