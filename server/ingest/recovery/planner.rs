//! Plans the windows to request from X. Pure.

use std::time::Duration;

use crate::model::{TimeRange, TimeRangeSet, UnixMillis};

/// X works minute by minute (PT).
pub(super) const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_MS: i64 = 60_000;

/// Limits of the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecoveryLimits {
    /// Maximum age of a demand.
    pub lookback_max: Duration,
    /// Maximum duration of a window.
    pub window_max: Duration,
    /// Minimum age of a window's end.
    pub window_age_min: Duration,
    /// Overlap of adjacent requests: the uncertainty of the clock that determined the bounds of a demand.
    pub overlap: Duration,
    /// Part at the edges of a demand whose posts may have arrived live.
    pub allowed_lateness: Duration,
}

/// A plan for a demand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecoveryPlan {
    /// Windows of new jobs, the first to expire first.
    pub windows: Vec<TimeRange>,
    /// Unrecoverable ranges, with exact bounds.
    pub lost: TimeRangeSet,
}

impl RecoveryLimits {
    /// Returns the time before which posts are unrecoverable.
    pub fn earliest_recoverable(&self, now: UnixMillis) -> UnixMillis {
        now.minus(self.lookback_max)
    }

    /// Returns when a request that ends at `end` may be made, if X refuses windows younger than `young`.
    pub fn available_at(&self, end: UnixMillis, young: Duration) -> UnixMillis {
        end.plus(self.window_age_min.max(young))
    }

    /// Returns the overlap of adjacent requests, in whole minutes.
    pub fn overlap_between(&self) -> Duration {
        if self.overlap.is_zero() || self.request_max() <= MINUTE { Duration::ZERO } else { MINUTE }
    }

    /// Returns the duration of the longest request, in whole minutes.
    pub fn request_max(&self) -> Duration {
        let minutes = (self.window_max.as_secs() / MINUTE.as_secs()).max(1);
        Duration::from_secs(minutes * MINUTE.as_secs())
    }
}

/// Returns the start of the minute of a time.
pub(super) fn minute_of(time: UnixMillis) -> UnixMillis {
    UnixMillis(time.0.div_euclid(MINUTE_MS).saturating_mul(MINUTE_MS))
}

/// Rounds an interval outward to whole minutes.
pub(super) fn round_out_to_minutes(span: TimeRange) -> TimeRange {
    if span.is_empty() {
        return span;
    }
    TimeRange::new(minute_of(span.from), minute_of(UnixMillis(span.to.0.saturating_sub(1))).plus(MINUTE))
}

/// Plans windows for ranges that are missing and not `held`: delivered, or still to be delivered, by an existing job.
///
/// Windows are rounded outward after the demand is clipped and extended by the overlap, so that no demanded range is
/// omitted; the clip allows for that.
pub(super) fn plan(
    missing: &TimeRangeSet,
    held: &TimeRangeSet,
    now: UnixMillis,
    limits: &RecoveryLimits,
) -> RecoveryPlan {
    let mut wanted = missing.clone();
    wanted.remove_all(held);
    let oldest = limits.earliest_recoverable(now);
    let lost = wanted.within(TimeRange::new(UnixMillis(i64::MIN), oldest));
    wanted.remove_all(&lost);
    let longer = |span: TimeRange| {
        let from = span.from.minus(limits.overlap).max(oldest.min(span.from));
        round_out_to_minutes(TimeRange::new(from, span.to.plus(limits.overlap)))
    };
    let whole: TimeRangeSet = wanted.iter().map(longer).collect();
    let windows = whole.iter().flat_map(|span| split(span, limits)).collect();
    RecoveryPlan { windows, lost }
}

fn split(span: TimeRange, limits: &RecoveryLimits) -> impl Iterator<Item = TimeRange> {
    let (longest, overlap) = (limits.request_max(), limits.overlap_between());
    let mut from = Some(span.from);
    std::iter::from_fn(move || {
        let start = from?;
        let piece = TimeRange::new(start, start.plus(longest).min(span.to));
        from = (piece.to < span.to).then(|| piece.to.minus(overlap));
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_750_000_000_000);
    const LIMITS: RecoveryLimits = RecoveryLimits {
        lookback_max: Duration::from_secs(24 * 3600 - 60),
        window_max: Duration::from_secs(2 * 3600),
        window_age_min: Duration::ZERO,
        overlap: Duration::from_secs(2),
        allowed_lateness: Duration::from_secs(30),
    };

    /// Creates a span from its age and length in milliseconds.
    fn span((ago, length): (i64, i64)) -> TimeRange {
        TimeRange::new(UnixMillis(NOW.0 - ago), UnixMillis(NOW.0 - ago + length))
    }

    fn is_whole(time: UnixMillis) -> bool {
        time == minute_of(time)
    }

    fn spans(most: i64, longest: i64) -> impl Strategy<Value = TimeRangeSet> {
        prop::collection::vec((0..most, 0..longest), 0..12).prop_map(|all| all.into_iter().map(span).collect())
    }

    proptest! {
        #[test]
        fn plan_partitions_missing_ranges(
            missing in spans(30 * 3_600_000, 5 * 3_600_000),
            held in spans(30 * 3_600_000, 3 * 3_600_000),
        ) {
            let held: TimeRangeSet = held.iter().map(round_out_to_minutes).collect();
            let plan = plan(&missing, &held, NOW, &LIMITS);
            let oldest = LIMITS.earliest_recoverable(NOW);
            let planned: TimeRangeSet = plan.windows.iter().copied().collect();

            let mut left = missing.clone();
            left.remove_all(&held);
            left.remove_all(&plan.lost);
            for demand in left.iter() {
                prop_assert!(demand.from >= oldest, "expired ranges are lost at once: {demand:?}");
                let longer = TimeRange::new(demand.from.minus(LIMITS.overlap).max(oldest), demand.to.plus(LIMITS.overlap));
                prop_assert!(planned.covers(longer), "{demand:?} and the uncertainty of its bounds is in no window");
            }
            for lost in plan.lost.iter() {
                prop_assert!(lost.to <= oldest && missing.covers(lost), "exact bounds: {lost:?}");
            }
            for window in &plan.windows {
                prop_assert!(is_whole(window.from) && is_whole(window.to) && !window.is_empty());
                prop_assert!(window.to.since(window.from) <= LIMITS.window_max);
                prop_assert!(window.from > NOW.minus(LIMITS.lookback_max + MINUTE), "within the recovery window: {window:?}");
                let longer = TimeRange::new(window.from.minus(MINUTE), window.to.plus(MINUTE));
                prop_assert!(!left.within(longer).is_empty(), "no demand needs {window:?}");
                let core = TimeRange::new(window.from.plus(MINUTE), window.to.minus(MINUTE));
                let twice = held.within(core).iter().map(|held| held.to.since(held.from)).max();
                prop_assert!(twice.is_none_or(|twice| twice <= MINUTE * 4), "two jobs for {window:?}");
            }
            for pair in plan.windows.windows(2) {
                let is_separate = pair[0].to < pair[1].from;
                prop_assert!(is_separate || pair[0].to.since(pair[1].from) == MINUTE, "in order, a minute of overlap: {pair:?}");
            }
        }

        #[test]
        fn planned_ranges_are_not_planned_again(missing in spans(30 * 3_600_000, 5 * 3_600_000)) {
            let first = plan(&missing, &TimeRangeSet::default(), NOW, &LIMITS);
            let held = first.windows.iter().copied().collect();
            let mut left = missing;
            left.remove_all(&first.lost);
            prop_assert_eq!(plan(&left, &held, NOW, &LIMITS), RecoveryPlan::default());
        }
    }

    #[test]
    fn thirty_hour_outage_plans_two_hour_windows() {
        let missing: TimeRangeSet = [span((30 * 3_600_000, 30 * 3_600_000 - 90_000))].into_iter().collect();
        let plan = plan(&missing, &TimeRangeSet::default(), NOW, &LIMITS);
        let lost = TimeRange::new(UnixMillis(NOW.0 - 30 * 3_600_000), LIMITS.earliest_recoverable(NOW));
        assert_eq!(plan.lost.iter().collect::<Vec<_>>(), [lost]);
        assert_eq!(plan.windows.len(), 13, "eleven overlaps of a minute make the last one longer than two hours");
        assert!(plan.windows[..12].iter().all(|window| window.to.since(window.from) == LIMITS.window_max));
    }

    #[test]
    fn minutes_are_rounded_outward() {
        let whole = |from, to| round_out_to_minutes(TimeRange::new(UnixMillis(from), UnixMillis(to)));
        assert_eq!(whole(60_000, 120_000), TimeRange::new(UnixMillis(60_000), UnixMillis(120_000)));
        assert_eq!(whole(119_999, 120_001), TimeRange::new(UnixMillis(60_000), UnixMillis(180_000)));
        assert!(whole(5, 5).is_empty());
        let odd = RecoveryLimits { window_max: Duration::from_secs(90), ..LIMITS };
        assert_eq!(odd.request_max(), MINUTE);
        assert_eq!(RecoveryLimits { window_max: Duration::ZERO, ..LIMITS }.request_max(), MINUTE);
    }
}
