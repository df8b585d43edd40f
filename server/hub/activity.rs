//! Activity of a running session, for operators. Only the session writes it, with relaxed atomics; it is read at any time.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::entry::Phase;
use crate::clock::Moment;
use crate::model::{Sequence, UnixMillis};

/// Length of a bucket of the delivery rate.
const BUCKET: Duration = Duration::from_secs(2);
/// Complete buckets over which the rate is computed: 10 s.
const BUCKETS: u64 = 5;
/// Stands for the time of the last record before there is one.
const NO_RECORD: i64 = i64::MIN;

/// Position, deliveries and waits of a session.
#[derive(Debug)]
pub struct SessionActivity {
    began: Moment,
    cursor: AtomicU64,
    last_advance: AtomicI64,
    events: AtomicU64,
    bytes: AtomicU64,
    is_live: AtomicBool,
    /// The session is at the tip and waits for records.
    is_parked: AtomicBool,
    /// When the last frame was returned, in microseconds; 0 while the next one is requested.
    returned_at: AtomicU64,
    /// The complete buckets, and the one that is being filled.
    buckets: [RateBucket; BUCKETS as usize + 1],
}

/// Deliveries within one interval of [`BUCKET`].
#[derive(Debug, Default)]
struct RateBucket {
    /// Number of the interval; the first is 1.
    number: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
}

/// Activity of a session at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivitySnapshot {
    /// The next record to pass.
    pub cursor: Sequence,
    /// Receive time of the last record passed.
    pub last_advance: Option<UnixMillis>,
    /// Events delivered.
    pub events: u64,
    /// Encoded bytes of these events.
    pub bytes: u64,
    /// Events delivered per second, over the last 10 s.
    pub events_per_second: f64,
    /// Bytes delivered per second, over the last 10 s.
    pub bytes_per_second: f64,
    /// Phase.
    pub phase: Phase,
    /// Time for which the client has not accepted a further frame.
    pub stalled_for: Duration,
}

fn bucket_number(now: Moment) -> u64 {
    now.since(Moment::ZERO).as_secs() / BUCKET.as_secs() + 1
}

fn micros(now: Moment) -> u64 {
    u64::try_from(now.since(Moment::ZERO).as_micros()).unwrap_or(u64::MAX).max(1)
}

impl SessionActivity {
    /// Creates the activity of a session that begins now, at an unknown position.
    pub fn new(now: Moment) -> Self {
        Self {
            began: now,
            cursor: AtomicU64::new(0),
            last_advance: AtomicI64::new(NO_RECORD),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            is_live: AtomicBool::new(false),
            is_parked: AtomicBool::new(false),
            returned_at: AtomicU64::new(micros(now)),
            buckets: Default::default(),
        }
    }

    /// Records the position at which the session begins; what was received up to `reached` is before it.
    pub(in crate::hub) fn begin(&self, cursor: Sequence, reached: UnixMillis) {
        self.cursor.store(cursor, Relaxed);
        self.last_advance.store(if reached.0 == 0 { NO_RECORD } else { reached.0 }, Relaxed);
    }

    /// Records that the connection requests a frame.
    pub(in crate::hub) fn frame_requested(&self) {
        self.returned_at.store(0, Relaxed);
        self.is_parked.store(false, Relaxed);
    }

    /// Records that a frame is returned, and the position after it.
    pub(in crate::hub) fn frame_returned(
        &self,
        now: Moment,
        cursor: Sequence,
        last_advance: Option<UnixMillis>,
        phase: Phase,
    ) {
        self.cursor.store(cursor, Relaxed);
        if let Some(last_advance) = last_advance {
            self.last_advance.store(last_advance.0, Relaxed);
        }
        self.is_live.store(phase == Phase::Live, Relaxed);
        self.returned_at.store(micros(now), Relaxed);
    }

    /// Records whether the session waits for records at the tip.
    pub(in crate::hub) fn set_parked(&self, is_parked: bool) {
        self.is_parked.store(is_parked, Relaxed);
    }

    /// Counts delivered events. There is one writer, so that no read-modify-write is needed.
    pub(in crate::hub) fn count(&self, now: Moment, events: u64, bytes: u64) {
        let add = |total: &AtomicU64, amount| total.store(total.load(Relaxed).wrapping_add(amount), Relaxed);
        add(&self.events, events);
        add(&self.bytes, bytes);
        let number = bucket_number(now);
        let bucket = &self.buckets[(number % self.buckets.len() as u64) as usize];
        if bucket.number.load(Relaxed) != number {
            bucket.events.store(0, Relaxed);
            bucket.bytes.store(0, Relaxed);
            bucket.number.store(number, Relaxed);
        }
        add(&bucket.events, events);
        add(&bucket.bytes, bytes);
    }

    /// Returns when the session began, in microseconds of the monotonic clock: sessions begun in one millisecond are in order.
    pub fn began(&self) -> u64 {
        micros(self.began)
    }

    /// Returns the number of events delivered.
    pub fn delivered_events(&self) -> u64 {
        self.events.load(Relaxed)
    }

    /// Returns how far the session is behind the tip: the sequence of the next record, and the receive time of the newest
    /// one. A session that waits for records, and one without a position yet, is behind none.
    pub fn lag(&self, (next, newest): (Sequence, Option<UnixMillis>)) -> (u64, Duration) {
        let cursor = self.cursor.load(Relaxed);
        let records = next.saturating_sub(cursor);
        if records == 0 || cursor == 0 || self.is_parked.load(Relaxed) {
            return (0, Duration::ZERO);
        }
        let passed = self.last_advance.load(Relaxed);
        let time =
            newest.filter(|_| passed != NO_RECORD).map_or(Duration::ZERO, |newest| newest.since(UnixMillis(passed)));
        (records, time)
    }

    /// Returns the time for which the client has not accepted a further frame.
    pub fn stalled_for(&self, now: Moment) -> Duration {
        match self.returned_at.load(Relaxed) {
            0 => Duration::ZERO,
            returned_at => Duration::from_micros(micros(now).saturating_sub(returned_at)),
        }
    }

    /// Returns the activity now.
    pub fn snapshot(&self, now: Moment) -> ActivitySnapshot {
        let current = bucket_number(now);
        let complete = self.buckets.iter().filter(|bucket| {
            let number = bucket.number.load(Relaxed);
            number < current && number + BUCKETS >= current
        });
        let (events, bytes) = complete.fold((0, 0), |(events, bytes), bucket| {
            (events + bucket.events.load(Relaxed), bytes + bucket.bytes.load(Relaxed))
        });
        // Of a session that is younger than the window, its age counts.
        let window = BUCKET.mul_f64(BUCKETS as f64).min(now.since(self.began)).max(BUCKET).as_secs_f64();
        let last_advance = self.last_advance.load(Relaxed);
        ActivitySnapshot {
            cursor: self.cursor.load(Relaxed),
            last_advance: (last_advance != NO_RECORD).then_some(UnixMillis(last_advance)),
            events: self.events.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            events_per_second: events as f64 / window,
            bytes_per_second: bytes as f64 / window,
            phase: if self.is_live.load(Relaxed) { Phase::Live } else { Phase::Replay },
            stalled_for: self.stalled_for(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Moment {
        Moment::ZERO.plus(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn rate_is_that_of_last_ten_seconds() {
        let activity = SessionActivity::new(at(100.0));
        // One event of 50 bytes each 100 ms, until second 140.
        for n in 0..400 {
            activity.count(at(100.0 + f64::from(n) / 10.0), 1, 50);
        }
        for (now, events) in [(140.0, 10.0), (141.9, 10.0), (142.0, 8.0), (145.0, 6.0), (150.5, 0.0), (1e6, 0.0)] {
            let found = activity.snapshot(at(now));
            assert!((found.events_per_second - events).abs() < 0.3, "{now}: {found:?}");
            assert!((found.bytes_per_second - 50.0 * events).abs() < 15.0, "{now}: {found:?}");
            assert_eq!((found.events, found.bytes), (400, 20_000));
        }
    }

    #[test]
    fn rate_of_young_session_is_over_its_age() {
        let activity = SessionActivity::new(at(100.0));
        for n in 0..40 {
            activity.count(at(100.0 + f64::from(n) / 10.0), 1, 1);
        }
        let found = activity.snapshot(at(104.0));
        assert!((found.events_per_second - 10.0).abs() < 0.3, "{found:?}");
    }

    #[test]
    fn session_is_stalled_from_frame_to_next_request() {
        let activity = SessionActivity::new(at(1.0));
        assert_eq!(activity.snapshot(at(3.0)).stalled_for, Duration::from_secs(2), "never polled");
        activity.frame_requested();
        assert_eq!(activity.snapshot(at(9.0)).stalled_for, Duration::ZERO);
        activity.frame_returned(at(9.0), 7, Some(UnixMillis(5)), Phase::Live);
        let found = activity.snapshot(at(12.5));
        assert_eq!((found.stalled_for, found.cursor), (Duration::from_millis(3_500), 7));
        assert_eq!((found.last_advance, found.phase), (Some(UnixMillis(5)), Phase::Live));
        activity.frame_requested();
        assert_eq!(activity.snapshot(at(99.0)).stalled_for, Duration::ZERO);
    }

    #[test]
    fn lag_is_that_of_position() {
        let activity = SessionActivity::new(at(1.0));
        let lag = |next, newest| activity.lag((next, Some(UnixMillis(newest))));
        assert_eq!(lag(100, 9_000), (0, Duration::ZERO), "no position yet");
        activity.begin(40, UnixMillis(5_000));
        assert_eq!(lag(100, 9_000), (60, Duration::from_secs(4)), "before the first frame");
        activity.frame_returned(at(2.0), 90, None, Phase::Replay);
        assert_eq!(lag(100, 9_000), (10, Duration::from_secs(4)), "no record passed");
        activity.frame_returned(at(2.0), 95, Some(UnixMillis(8_500)), Phase::Replay);
        assert_eq!(lag(100, 9_000), (5, Duration::from_millis(500)));
        assert_eq!(lag(95, 9_000), (0, Duration::ZERO), "at the tip");
        activity.set_parked(true);
        assert_eq!(lag(100, 9_000), (0, Duration::ZERO), "nothing up to the tip is for it");
    }
}
