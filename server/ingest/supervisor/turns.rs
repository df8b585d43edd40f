//! Detects stalls of a reader, and determines the maximum age of the data that it reads afterwards.

use std::time::Duration;

use crate::clock::Moment;
use crate::model::UnixMillis;

/// The polls of a reader.
///
/// Between two polls a reader waits at most for a known time. If more time passed on the machine's clock, the process,
/// its thread or the host was suspended (SIGSTOP, a cgroup freezer, suspend, starvation), or the queue blocked it. Data
/// that it reads next has waited in the socket and can have been sent at any time since the previous poll: it is
/// stamped with that poll, until the reader has caught up.
#[derive(Debug)]
pub(super) struct ReadTurns {
    reader_stall_min: Duration,
    last: (Moment, UnixMillis),
    behind: Option<UnreadSocketData>,
}

/// Data in the socket has not been read yet.
#[derive(Clone, Copy, Debug)]
struct UnreadSocketData {
    /// The last poll before the stall.
    since: (Moment, UnixMillis),
    /// The first poll after the stall.
    resumed: (Moment, UnixMillis),
    /// Creation time of the newest post read since then.
    newest: Option<UnixMillis>,
}

impl ReadTurns {
    /// Creates the state of a reader that polls now.
    pub(super) fn new(reader_stall_min: Duration, moment: Moment, time: UnixMillis) -> Self {
        Self { reader_stall_min, last: (moment, time), behind: None }
    }

    /// Records a poll after a wait of at most `allowed`. Returns the time since the previous poll if the reader was
    /// stalled.
    pub(super) fn take(&mut self, moment: Moment, time: UnixMillis, allowed: Duration) -> Option<Duration> {
        let since = std::mem::replace(&mut self.last, (moment, time));
        let passed = moment.since(since.0);
        if passed < allowed.saturating_add(self.reader_stall_min) {
            return None;
        }
        let (since, newest) = self.behind.map_or((since, None), |behind| (behind.since, behind.newest));
        self.behind = Some(UnreadSocketData { since, resumed: (moment, time), newest });
        Some(passed)
    }

    /// True until the reader has caught up after a stall.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Records that the socket was empty for a while.
    pub(super) fn caught_up(&mut self) {
        self.behind = None;
    }

    /// Returns the date of data read at `received`; `newest` is the creation time of the newest post in it. What is read
    /// after that post was not sent before it, but what was read with it may have been. `at` is the time of a poll by the
    /// clock of now: it may have been corrected since, and a correction is an error of the clock, or time that no clock
    /// counted, so that the bounds are those of the clock that makes the data older.
    pub(super) fn stamp(
        &mut self,
        received: UnixMillis,
        newest: Option<UnixMillis>,
        at: impl Fn(Moment) -> UnixMillis,
    ) -> ReadStamp {
        let Some(behind) = &mut self.behind else { return ReadStamp { oldest: received, date: received } };
        let since = behind.since.1.min(at(behind.since.0));
        let resumed = behind.resumed.1.max(at(behind.resumed.0));
        let newest = newest.filter(|newest| *newest <= received);
        let oldest = behind.newest.unwrap_or(since).max(since).min(received);
        behind.newest = behind.newest.max(newest);
        let date = if newest.is_some_and(|newest| newest >= resumed) {
            self.behind = None;
            received
        } else {
            behind.newest.unwrap_or(since).max(since).min(received)
        };
        ReadStamp { oldest, date }
    }
}

/// When data of one read was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadStamp {
    /// None of it was sent before this time.
    pub(super) oldest: UnixMillis,
    /// Its last part was not sent before this time.
    pub(super) date: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PULSE: Duration = Duration::from_secs(1);

    fn moment(seconds: u64) -> Moment {
        Moment::default().plus(Duration::from_secs(seconds))
    }

    fn time(seconds: u64) -> UnixMillis {
        UnixMillis(1_800_000_000_000 + seconds as i64 * 1_000)
    }

    /// A reader that was stalled from second 11 to second 600.
    fn stopped() -> ReadTurns {
        let mut turns = ReadTurns::new(Duration::from_secs(5), moment(10), time(10));
        assert_eq!(turns.take(moment(11), time(11), PULSE), None);
        assert_eq!(turns.take(moment(600), time(600), PULSE), Some(Duration::from_secs(589)));
        turns
    }

    /// A clock that has not been corrected.
    fn at_first(moment: Moment) -> UnixMillis {
        time(moment.since(Moment::default()).as_secs())
    }

    /// Reads at second 601; the bounds of what was read.
    fn read(turns: &mut ReadTurns, newest: Option<u64>) -> (i64, i64) {
        let ReadStamp { oldest, date } = turns.stamp(time(601), newest.map(time), at_first);
        let seconds = |at: UnixMillis| (at.0 - time(0).0) / 1_000;
        (seconds(oldest), seconds(date))
    }

    #[test]
    fn bytes_after_stop_have_time_of_last_turn() {
        let mut turns = stopped();
        assert_eq!(read(&mut turns, None), (11, 11), "a heartbeat");
        assert_eq!(turns.take(moment(601), time(601), PULSE), None);
        assert_eq!(read(&mut turns, Some(5)), (11, 11), "an old post");
        assert_eq!(read(&mut turns, Some(300)), (11, 300), "there may be older posts before it");
        assert_eq!(read(&mut turns, Some(200)), (300, 300), "it was not sent before the post in front of it");
        assert_eq!(turns.take(moment(700), time(700), PULSE), Some(Duration::from_secs(99)));
        assert_eq!(read(&mut turns, None), (300, 300), "stalled again before it had caught up");
        turns.caught_up();
        assert_eq!(read(&mut turns, None), (601, 601));
    }

    #[test]
    fn post_created_after_stop_ends_it() {
        let mut turns = stopped();
        assert_eq!(read(&mut turns, Some(600)), (11, 601));
        assert!(!turns.is_behind());
        assert_eq!(read(&mut turns, None), (601, 601));
        let mut turns = stopped();
        assert_eq!(read(&mut turns, Some(900)), (11, 11), "a post of the future proves nothing");
    }

    /// The first answer after a suspension may correct the clock, before the data from before it is read.
    #[test]
    fn stamp_follows_correction_to_older_time() {
        for (corrected, oldest) in [(-3, 8), (0, 11), (7_200, 11)] {
            let mut turns = stopped();
            let at = |moment| at_first(moment).shifted(corrected * 1_000);
            let stamp = turns.stamp(at(moment(601)), None, at);
            assert_eq!(stamp, ReadStamp { oldest: time(oldest), date: time(oldest) }, "{corrected}");
            let resumed = at(moment(600)).max(time(600));
            turns.stamp(at(moment(800)), Some(UnixMillis(resumed.0 - 1)), at);
            assert!(turns.is_behind(), "{corrected}");
            turns.stamp(at(moment(800)), Some(resumed), at);
            assert!(!turns.is_behind(), "{corrected}");
        }
    }

    #[test]
    fn ordinary_waits_are_no_stop() {
        let mut turns = ReadTurns::new(Duration::from_secs(5), moment(0), time(0));
        for second in 1..100 {
            assert_eq!(turns.take(moment(second * 5), time(second * 5), PULSE), None);
        }
        assert!(!turns.is_behind());
        let mut never = ReadTurns::new(Duration::MAX, moment(0), time(0));
        assert_eq!(never.take(moment(u64::from(u32::MAX)), time(1), PULSE), None);
    }
}
