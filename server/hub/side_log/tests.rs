use std::time::Duration;

use super::*;
use crate::hub::Config as HubConfig;
use crate::hub::test_util::new_hub;

const HOUR: Duration = Duration::from_secs(3_600);

/// Times of this test are minutes before its start.
struct Times(UnixMillis);

impl Times {
    fn ago(&self, minutes: u64) -> UnixMillis {
        self.0.minus(Duration::from_secs(60 * minutes))
    }

    fn span(&self, from: u64, to: u64) -> Span {
        Span::new(self.ago(from), self.ago(to))
    }
}

fn world() -> (std::sync::Arc<crate::hub::Hub>, Times) {
    let clock = Clock::system();
    let now = clock.now();
    (new_hub(HubConfig::default(), clock).0, Times(now))
}

#[test]
fn what_is_wanted_is_missing_until_it_is_proven_or_lost() {
    let (hub, times) = world();
    let side = hub.side();
    assert!(!side.wants(times.ago(50)));
    side.want(times.span(60, 20), false);
    side.want(times.span(40, 10), false);
    assert_eq!(side.missing(), [times.span(60, 10)].into_iter().collect(), "one demand");
    assert!(side.wants(times.ago(50)) && !side.wants(times.ago(5)));
    side.prove(times.span(90, 30), GapEvidence::CompletionMessage, side.stamp());
    side.lose(times.span(40, 20), GapEvidence::Refused);
    assert_eq!(side.missing(), [times.span(20, 10)].into_iter().collect());
    let outlook = side.outlook(times.span(60, 10), false);
    assert_eq!(
        outlook.settled,
        [
            (times.span(60, 30), GapState::Recovered, GapEvidence::CompletionMessage),
            (times.span(30, 20), GapState::Unrecoverable, GapEvidence::Refused),
        ],
    );
    assert_eq!(outlook.asked, [times.span(20, 10)].into_iter().collect());
}

#[test]
fn what_is_older_than_x_recovers_is_lost_without_being_asked_for() {
    let (hub, times) = world();
    let day = 24 * 60;
    hub.side().want(times.span(day + 60, day - 60), false);
    let asked = hub.side().missing();
    let from = asked.first().expect("a part is young enough").from;
    // A margin of one minute, and the moments that this test has taken.
    assert!(from.since(times.ago(day - 1)) < HOUR / 60, "{from}");
    let outlook = hub.side().outlook(times.span(day + 60, day - 60), false);
    let (lost, state, evidence) = outlook.settled[0];
    assert_eq!((lost.from, state, evidence), (times.ago(day + 60), GapState::Unrecoverable, GapEvidence::WindowPassed));
    assert!(outlook.asked.first().is_some_and(|asked| asked.from == lost.to), "nothing between them: {outlook:?}");
}

#[test]
fn what_the_first_backfill_may_bring_is_not_asked_for() {
    let (hub, times) = world();
    let side = hub.side();
    side.set_complete_from(Completeness::Pending(times.ago(5)));
    side.want(times.span(60, 0), true);
    let expected = times.ago(5).plus(Clock::system().uncertainty());
    assert_eq!(side.missing(), [Span::new(times.ago(60), expected)].into_iter().collect());
    let waiting = Span::new(expected, times.ago(0));
    assert_eq!(side.outlook(times.span(60, 0), true).waiting, [waiting].into_iter().collect());
    side.set_complete_from(Completeness::From(times.ago(3)));
    // Where the log begins is as uncertain as the clock.
    let begins = times.ago(3).plus(Clock::system().uncertainty());
    let before = Span::new(times.ago(60), begins);
    assert_eq!(side.missing(), [before].into_iter().collect(), "the backfill reached less far");
    let outlook = side.outlook(times.span(60, 0), true);
    let backfilled = (Span::new(begins, times.ago(0)), GapState::Backfilled, GapEvidence::BackfillQuiet);
    assert_eq!((&outlook.settled[..], outlook.waiting.is_empty()), (&[backfilled][..], true));
    side.outlook(times.span(2, 1), false);
    assert!(side.missing().contains(times.ago(2)), "who does not read the log from its beginning lacks it");
}

#[test]
fn a_restart_takes_up_what_was_wanted_and_trusts_no_proof_of_another_side_log() {
    let (hub, times) = world();
    let side = hub.side();
    side.want(times.span(60, 10), false);
    side.prove(times.span(60, 30), GapEvidence::CleanEof, side.stamp());
    let text = serde_json::to_string(&side.snapshot()).expect("it is JSON");
    let read = || serde_json::from_str::<Snapshot>(&text).expect("our own");
    let (again, _) = world();
    again.side().restore(read());
    assert_eq!(again.side().snapshot(), side.snapshot());
    again.side().restore(Snapshot { tag: 99, ..read() });
    assert_eq!(again.side().missing(), [times.span(60, 10)].into_iter().collect());
    again.side().restore(Snapshot { next: 2, ..read() });
    assert_eq!(again.side().missing(), [times.span(60, 10)].into_iter().collect(), "its tail was lost");
}

#[test]
fn what_is_not_over_yet_is_not_told_as_closed() {
    let (hub, times) = world();
    let side = hub.side();
    side.set_complete_from(Completeness::From(times.ago(1)));
    let over = Span::new(times.ago(10), times.ago(0));
    let closed = |span: Span| side.outlook(span, true).settled.iter().map(|(part, ..)| *part).collect::<Spans>();
    side.want(over, true);
    side.prove(over, GapEvidence::CompletionMessage, side.stamp());
    assert!(closed(over).covers(over));
    let beyond = Span::new(over.from, over.to.plus(HOUR));
    let outlook = side.outlook(beyond, true);
    let begins = times.ago(1).plus(Clock::system().uncertainty());
    assert_eq!(
        (closed(beyond), outlook.over_at),
        ([Span::new(over.from, begins)].into_iter().collect(), Some(beyond.to))
    );
    assert_eq!(outlook.waiting, [Span::new(begins, beyond.to)].into_iter().collect());
}

#[test]
fn request_proves_only_demands_made_before_it() {
    let (hub, times) = world();
    let side = hub.side();
    side.want(times.span(60, 40), false);
    let request = side.stamp();
    side.want(times.span(50, 20), false);
    side.prove(times.span(90, 0), GapEvidence::CompletionMessage, request);
    assert_eq!(side.missing(), [times.span(40, 20)].into_iter().collect(), "posts of it may have arrived before");
    side.prove(times.span(90, 0), GapEvidence::CompletionMessage, side.stamp());
    assert!(side.missing().is_empty());
}

#[test]
fn requests_before_restart_prove_nothing() {
    let (hub, times) = world();
    let side = hub.side();
    side.want(times.span(60, 40), false);
    let kept = side.snapshot();
    let (again, _) = world();
    again.side().restore(kept);
    again.side().prove(times.span(60, 40), GapEvidence::CompletionMessage, 0);
    assert_eq!(again.side().missing(), [times.span(60, 40)].into_iter().collect());
    again.side().prove(times.span(60, 40), GapEvidence::CompletionMessage, again.side().stamp());
    assert!(again.side().missing().is_empty());
}

#[test]
fn renewed_demand_needs_newer_request() {
    let (hub, times) = world();
    let side = hub.side();
    side.want(times.span(60, 40), false);
    let request = side.stamp();
    // Joined with what lies between: that was not asked for before.
    let mut state = side.state.lock();
    state.shares.want(times.span(30, 20), 1, 1, 2);
    assert!(state.bound(1, Change::default()).asks);
    drop(state);
    side.prove(times.span(60, 20), GapEvidence::CompletionMessage, request);
    assert_eq!(side.missing(), [times.span(60, 20)].into_iter().collect());
}
