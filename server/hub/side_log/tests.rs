use std::time::Duration;

use super::*;
use crate::hub::Config as HubConfig;
use crate::hub::test_util::new_hub;

const HOUR: Duration = Duration::from_secs(3_600);
const IN_TIME: Duration = Duration::ZERO;

/// Times of this test are minutes before its start.
struct Times(UnixMillis);

impl Times {
    fn ago(&self, minutes: u64) -> UnixMillis {
        self.0.minus(Duration::from_secs(60 * minutes))
    }

    fn span(&self, from: u64, to: u64) -> TimeRange {
        TimeRange::new(self.ago(from), self.ago(to))
    }
}

fn env() -> (std::sync::Arc<crate::hub::Hub>, Times) {
    let clock = Clock::system();
    let now = clock.now();
    (new_hub(HubConfig::default(), clock).0, Times(now))
}

#[test]
fn requested_range_is_missing_until_resolved() {
    let (hub, times) = env();
    let side = hub.side();
    assert!(!side.accepts(times.ago(50)));
    side.request(times.span(60, 20), false);
    side.request(times.span(40, 10), false);
    assert_eq!(side.missing(), [times.span(60, 10)].into_iter().collect(), "one demand");
    assert!(side.accepts(times.ago(50)) && !side.accepts(times.ago(5)));
    side.mark_complete(times.span(90, 30), GapEvidence::CompletionMessage, side.stamp());
    side.mark_unrecoverable(times.span(40, 20), GapEvidence::Refused);
    assert_eq!(side.missing(), [times.span(20, 10)].into_iter().collect());
    let gap_status = side.status_of(times.span(60, 10), false, IN_TIME);
    assert_eq!(
        gap_status.settled,
        [
            (times.span(60, 30), GapState::Recovered, GapEvidence::CompletionMessage),
            (times.span(30, 20), GapState::Unrecoverable, GapEvidence::Refused),
        ],
    );
    assert_eq!(gap_status.asked, [times.span(20, 10)].into_iter().collect());
}

#[test]
fn range_beyond_recovery_window_is_lost_unrequested() {
    let (hub, times) = env();
    let day = 24 * 60;
    hub.side().request(times.span(day + 60, day - 60), false);
    let asked = hub.side().missing();
    let from = asked.first().expect("a part is young enough").from;
    // A margin of one minute, and the duration of this test.
    assert!(from.since(times.ago(day - 1)) < HOUR / 60, "{from}");
    let gap_status = hub.side().status_of(times.span(day + 60, day - 60), false, IN_TIME);
    let (lost, state, evidence) = gap_status.settled[0];
    assert_eq!((lost.from, state, evidence), (times.ago(day + 60), GapState::Unrecoverable, GapEvidence::WindowPassed));
    assert!(
        gap_status.asked.first().is_some_and(|asked| asked.from == lost.to),
        "nothing between them: {gap_status:?}"
    );
}

#[test]
fn range_of_first_backfill_is_not_requested() {
    let (hub, times) = env();
    let side = hub.side();
    side.set_complete_from(Completeness::Pending(times.ago(5)));
    side.request(times.span(60, 1), true);
    let expected = times.ago(5).plus(Clock::system().uncertainty());
    assert_eq!(side.missing(), [TimeRange::new(times.ago(60), expected)].into_iter().collect());
    let waiting = TimeRange::new(expected, times.ago(1));
    assert_eq!(side.status_of(times.span(60, 1), true, IN_TIME).waiting, [waiting].into_iter().collect());
    side.set_complete_from(Completeness::From(times.ago(3)));
    // The start of the log is as uncertain as the clock.
    let begins = times.ago(3).plus(Clock::system().uncertainty());
    let before = TimeRange::new(times.ago(60), begins);
    assert_eq!(side.missing(), [before].into_iter().collect(), "the backfill reached less far");
    let gap_status = side.status_of(times.span(60, 1), true, IN_TIME);
    let backfilled = (TimeRange::new(begins, times.ago(1)), GapState::Backfilled, GapEvidence::BackfillQuiet);
    assert_eq!((&gap_status.settled[..], gap_status.waiting.is_empty()), (&[backfilled][..], true));
    side.status_of(times.span(2, 1), false, IN_TIME);
    assert!(
        side.missing().contains(times.ago(2)),
        "it is missing for subscriptions that do not read from the beginning"
    );
}

#[test]
fn restart_keeps_requests_drops_foreign_proof() {
    let (hub, times) = env();
    let side = hub.side();
    side.request(times.span(60, 10), false);
    side.mark_complete(times.span(60, 30), GapEvidence::CleanEof, side.stamp());
    let text = serde_json::to_string(&side.snapshot()).expect("it is JSON");
    let read = || serde_json::from_str::<SideLogSnapshot>(&text).expect("our own");
    let (again, _) = env();
    again.side().restore(read());
    assert_eq!(again.side().snapshot(), side.snapshot());
    again.side().restore(SideLogSnapshot { tag: 99, ..read() });
    assert_eq!(again.side().missing(), [times.span(60, 10)].into_iter().collect());
    again.side().restore(SideLogSnapshot { next: 2, ..read() });
    assert_eq!(again.side().missing(), [times.span(60, 10)].into_iter().collect(), "its tail was lost");
}

#[test]
fn unfinished_range_is_not_reported_closed() {
    let (hub, times) = env();
    let side = hub.side();
    side.set_complete_from(Completeness::From(times.ago(2)));
    let over = TimeRange::new(times.ago(10), times.ago(1));
    let closed = |span: TimeRange| {
        side.status_of(span, true, IN_TIME).settled.iter().map(|(part, ..)| *part).collect::<TimeRangeSet>()
    };
    side.request(over, true);
    side.mark_complete(over, GapEvidence::CompletionMessage, side.stamp());
    assert!(closed(over).covers(over));
    let beyond = TimeRange::new(over.from, over.to.plus(HOUR));
    let gap_status = side.status_of(beyond, true, IN_TIME);
    let begins = times.ago(2).plus(Clock::system().uncertainty());
    assert_eq!(
        (closed(beyond), gap_status.over_at),
        (
            [TimeRange::new(over.from, begins)].into_iter().collect(),
            Some(beyond.to.plus(Clock::system().uncertainty()))
        )
    );
    assert_eq!(gap_status.waiting, [TimeRange::new(begins, beyond.to)].into_iter().collect());
}

/// The posts of the last part of a private gap are in the account's log only after they had the time to arrive.
#[test]
fn logged_part_waits_for_late_posts() {
    let (hub, times) = env();
    let side = hub.side();
    side.set_complete_from(Completeness::From(times.ago(3)));
    let span = TimeRange::new(times.ago(3).plus(Clock::system().uncertainty()), times.ago(1));
    let status = |late: Duration| side.status_of(span, true, late);
    let closed = (span, GapState::Backfilled, GapEvidence::BackfillQuiet);
    assert_eq!((status(IN_TIME).settled, status(IN_TIME).over_at), (vec![closed], None));
    let late = status(HOUR / 30);
    let over_at = span.to.plus(HOUR / 30 + Clock::system().uncertainty());
    assert_eq!((late.settled, late.over_at), (vec![], Some(over_at)));
    assert_eq!(late.waiting, [span].into_iter().collect());
}

#[test]
fn request_proves_only_demands_made_before_it() {
    let (hub, times) = env();
    let side = hub.side();
    side.request(times.span(60, 40), false);
    let request = side.stamp();
    side.request(times.span(50, 20), false);
    side.mark_complete(times.span(90, 0), GapEvidence::CompletionMessage, request);
    assert_eq!(side.missing(), [times.span(40, 20)].into_iter().collect(), "posts of it may have arrived before");
    side.mark_complete(times.span(90, 0), GapEvidence::CompletionMessage, side.stamp());
    assert!(side.missing().is_empty());
}

#[test]
fn requests_before_restart_prove_nothing() {
    let (hub, times) = env();
    let side = hub.side();
    side.request(times.span(60, 40), false);
    let kept = side.snapshot();
    let (again, _) = env();
    again.side().restore(kept);
    again.side().mark_complete(times.span(60, 40), GapEvidence::CompletionMessage, 0);
    assert_eq!(again.side().missing(), [times.span(60, 40)].into_iter().collect());
    again.side().mark_complete(times.span(60, 40), GapEvidence::CompletionMessage, again.side().stamp());
    assert!(again.side().missing().is_empty());
}

#[test]
fn renewed_demand_needs_newer_request() {
    let (hub, times) = env();
    let side = hub.side();
    side.request(times.span(60, 40), false);
    let request = side.stamp();
    // Merged with the time between, which was not requested before.
    let mut state = side.state.lock();
    state.shares.request(times.span(30, 20), 1, 1, 2);
    assert!(state.bound(1, DemandEffect::default()).asks);
    drop(state);
    side.mark_complete(times.span(60, 20), GapEvidence::CompletionMessage, request);
    assert_eq!(side.missing(), [times.span(60, 20)].into_iter().collect());
}
