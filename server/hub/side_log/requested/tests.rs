mod plain;

use proptest::prelude::*;

use super::*;
use plain::Plain;
use tree::work;

const QUIET: RangeState = RangeState::Proven(GapEvidence::CompletionMessage);
const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);

fn span(from: i64, to: i64) -> TimeRange {
    TimeRange::new(UnixMillis(from), UnixMillis(to))
}

fn prove(shares: &mut RequestedRanges, (from, to): (i64, i64)) -> bool {
    shares.prove(span(from, to), GapEvidence::CompletionMessage, u64::MAX)
}

fn states(shares: &RequestedRanges) -> Vec<(i64, i64, Sequence, RangeState)> {
    shares.list().iter().map(|share| (share.span.from.0, share.span.to.0, share.since, share.state)).collect()
}

#[test]
fn overlapping_private_gaps_share_requests() {
    let mut shares = RequestedRanges::default();
    assert!(shares.request(span(10, 20), 1, 1, 1).asks);
    assert!(prove(&mut shares, (0, 15)));
    assert_eq!(shares.request(span(12, 30), 1, 5, 1), DemandEffect { asks: true, reopens: false });
    assert_eq!(states(&shares), [(10, 15, 1, QUIET), (15, 20, 1, RangeState::Open), (20, 30, 5, RangeState::Open)]);
    assert_eq!(shares.open(), [span(15, 30)].into_iter().collect());
    assert_eq!(shares.request(span(11, 30), 1, 6, 2), DemandEffect::default(), "all of it is asked for");
}

#[test]
fn trimmed_complete_range_becomes_pending() {
    let mut shares = RequestedRanges::default();
    shares.request(span(10, 20), 1, 3, 1);
    prove(&mut shares, (10, 20));
    shares.request(span(10, 20), 3, 9, 1);
    assert_eq!(states(&shares), [(10, 20, 3, QUIET)]);
    assert_eq!(shares.request(span(15, 20), 4, 9, 1), DemandEffect { asks: true, reopens: true });
    assert_eq!(states(&shares), [(10, 15, 3, QUIET), (15, 20, 4, RangeState::Open)]);
    shares.forget(UnixMillis(100), 3, 9);
    assert_eq!(states(&shares), [(10, 15, 3, QUIET)], "its posts can be read yet");
    shares.forget(UnixMillis(100), 4, 9);
    assert_eq!(shares.len(), 0);
}

#[test]
fn too_many_are_joined_where_they_are_nearest() {
    let mut shares = RequestedRanges::default();
    for (from, to) in [(0, 10), (15, 20), (100, 110)] {
        shares.request(span(from, to), 1, 1, 1);
    }
    prove(&mut shares, (0, 200));
    assert_eq!(shares.bound(2, 7), DemandEffect { asks: true, reopens: true });
    assert_eq!(shares.list()[0].wanted, 7, "what lies between is asked for now");
    assert_eq!(states(&shares), [(0, 20, 1, RangeState::Open), (100, 110, 1, QUIET)]);
}

/// Consecutive subscriptions fill the limit with pieces of one interval. No part of it is requested again, and pending
/// requests keep their value.
#[test]
fn touching_shares_join_without_new_request() {
    let mut shares = RequestedRanges::default();
    for number in 0..10_u64 {
        let from = 100 - 10 * i64::try_from(number).expect("small");
        shares.request(span(from, from + 10), 1, number + 1, number + 1);
    }
    shares.prove(span(50, 200), GapEvidence::CompletionMessage, 4);
    assert_eq!((shares.len(), shares.bound(2, 99)), (10, DemandEffect::default()));
    assert_eq!(states(&shares), [(10, 70, 5, RangeState::Open), (70, 110, 1, QUIET)]);
    assert_eq!(shares.list()[0].wanted, 10, "only a request after the last demand proves all of it");
}

#[test]
fn shares_survive_serialization() {
    let mut shares = RequestedRanges::default();
    shares.request(span(10, 20), 1, 3, 1);
    let old = r#"[{"span":{"from":10,"to":20},"since":3,"wanted":1,"fate":"open","posts":0}]"#;
    assert_eq!(serde_json::from_str::<RequestedRanges>(old).expect("as it was written before"), shares);
    let again = |shares: &RequestedRanges| {
        serde_json::from_value(serde_json::to_value(shares).expect("JSON")).expect("our own")
    };
    assert_eq!(shares, again(&shares));
    shares.withdraw(span(15, 40), 9);
    let again: RequestedRanges = again(&shares);
    assert_eq!(shares, again);
    assert_eq!(again.past.since(span(16, 17)), Some(3));
}

#[derive(Clone, Debug)]
enum Step {
    Want(i64, i64),
    Prove(i64, i64, u64),
    Lose(i64, i64),
    Withdraw(i64, i64),
    Append(i64),
    Trim(u64),
    Pass(i64),
    Bound(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (from, length) = (|| 0_i64..60, || 0_i64..20);
    prop_oneof![
        4 => (from(), length()).prop_map(|(from, length)| Step::Want(from, length)),
        3 => (from(), length(), 0_u64..3).prop_map(|(from, length, age)| Step::Prove(from, length, age)),
        1 => (from(), length()).prop_map(|(from, length)| Step::Lose(from, length)),
        1 => (from(), length()).prop_map(|(from, length)| Step::Withdraw(from, length)),
        4 => (0_i64..80).prop_map(Step::Append),
        1 => (0_u64..6).prop_map(Step::Trim),
        1 => (0_i64..10).prop_map(Step::Pass),
        1 => (1_usize..6).prop_map(Step::Bound),
    ]
}

proptest! {
    /// Every answer equals that of the plain definition.
    #[test]
    fn shares_equal_plain_definition(steps in prop::collection::vec(step(), 0..60)) {
        let (mut shares, mut plain) = (RequestedRanges::default(), Plain::default());
        let (mut earliest, mut next, mut stamp, mut cutoff) = (1, 1, 0, 0);
        for step in steps {
            let before = plain.0.clone();
            match step {
                Step::Want(from, length) => {
                    stamp += 1;
                    let span = span(from.max(cutoff), from + length);
                    let change = shares.request(span, earliest, next, stamp);
                    plain.want(span, earliest, next, stamp);
                    prop_assert_eq!(change.asks, before != plain.0);
                    let again = |share: &RequestedRange| share.state != RangeState::Open && plain.state(share.span.from) == Some(RangeState::Open);
                    prop_assert!(change.reopens || !before.iter().any(again));
                }
                Step::Prove(from, length, age) => {
                    let (span, stamp) = (span(from, from + length), stamp.saturating_sub(age));
                    let changed = shares.prove(span, GapEvidence::CleanEof, stamp);
                    plain.prove(span, GapEvidence::CleanEof, stamp);
                    prop_assert_eq!(changed, before != plain.0);
                }
                Step::Lose(from, length) => {
                    let changed = shares.lose(span(from, from + length), GapEvidence::Refused);
                    plain.lose(span(from, from + length), GapEvidence::Refused);
                    prop_assert_eq!(changed, before != plain.0);
                }
                Step::Append(created) => {
                    next += 1;
                    shares.count(UnixMillis(created));
                    plain.count(UnixMillis(created));
                }
                Step::Trim(count) => earliest = (earliest + count).min(next),
                Step::Pass(time) => {
                    cutoff += time;
                    shares.forget(UnixMillis(cutoff), earliest, next);
                    plain.forget(UnixMillis(cutoff), earliest);
                }
                Step::Withdraw(..) | Step::Bound(_) => {}
            }
            prop_assert_eq!(shares.list(), plain.0.clone());
            prop_assert_eq!(shares.len(), plain.0.len());
            for from in 0..80 {
                prop_assert_eq!(shares.at(UnixMillis(from)).map(|share| share.state), plain.state(UnixMillis(from)));
                let span = span(from, from + 15);
                prop_assert_eq!(shares.since(span), plain.since(span));
                prop_assert_eq!(shares.posts(span), plain.posts(span));
                let mut actual = vec![None; 15];
                for (part, state) in shares.states(span) {
                    prop_assert!(span.covers(part) && !part.is_empty());
                    (part.from.0..part.to.0).for_each(|at| actual[usize::try_from(at - from).expect("in it")] = Some(state));
                }
                let known: Vec<_> = (from..from + 15).map(|at| plain.state(UnixMillis(at))).collect();
                prop_assert_eq!(actual, known);
            }
            let open: TimeRangeSet = plain.0.iter().filter(|share| share.state == RangeState::Open).map(|share| share.span).collect();
            prop_assert_eq!(shares.open(), open);
        }
    }

    /// A demand reads all records of its interval in the side log, also those recovered for a demand that was
    /// withdrawn, dropped, or made before a restart that lost it: X would send them again, and they would not be
    /// appended again.
    #[test]
    fn demand_sees_records_of_earlier_demands(
        steps in prop::collection::vec(step(), 0..60), restarts in prop::collection::vec(0_usize..60, 0..3),
    ) {
        let mut shares = RequestedRanges::default();
        let (mut kept, mut kept_next) = (shares.clone(), 1);
        let (mut earliest, mut next, mut stamp, mut cutoff) = (1, 1, 0, 0);
        let mut appended: Vec<(i64, Sequence)> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            if restarts.contains(&number) {
                shares = kept.clone();
                shares.restart(1, None, (kept_next.max(earliest), next), UnixMillis(100));
                stamp = stamp.max(1);
            }
            stamp += 1;
            match step {
                Step::Want(from, length) if length > 0 => {
                    let span = span(from, from + length);
                    shares.request(span, earliest, next, stamp);
                    let since = shares.since(span).expect("it is asked for");
                    prop_assert!(since >= earliest && since <= next);
                    let hidden = appended.iter().find(|(created, sequence)| {
                        span.contains(UnixMillis(*created)) && (earliest..since).contains(sequence)
                    });
                    prop_assert_eq!(hidden, None, "hidden from {:?} on", since);
                }
                Step::Want(..) => {}
                Step::Prove(from, length, _) => drop(prove(&mut shares, (from, from + length))),
                Step::Lose(from, length) => drop(shares.lose(span(from, from + length), GapEvidence::Refused)),
                Step::Withdraw(from, length) => shares.withdraw(span(from, from + length), next),
                Step::Append(created) => {
                    if shares.at(UnixMillis(created)).is_some() {
                        appended.push((created, next));
                        next += 1;
                    }
                }
                Step::Trim(count) => earliest = (earliest + count).min(next),
                // The clock may be corrected backward.
                Step::Pass(time) => {
                    cutoff = if time < 3 { cutoff - 10 } else { cutoff + time };
                    shares.forget(UnixMillis(cutoff), earliest, next);
                }
                Step::Bound(max) => drop(shares.bound(max, stamp)),
            }
            if number % 3 == 0 {
                (kept, kept_next) = (shares.clone(), next);
            }
        }
    }

    /// Requested times stay requested or final, and the limit neither proves nor loses any.
    #[test]
    fn bound_keeps_all_and_settles_nothing(steps in prop::collection::vec(step(), 0..40), max in 1_usize..8) {
        let mut shares = RequestedRanges::default();
        let mut stamp = 0;
        for step in steps {
            stamp += 1;
            match step {
                Step::Want(from, length) => drop(shares.request(span(from, from + length), 1, stamp, stamp)),
                Step::Prove(from, length, age) => {
                    shares.prove(span(from, from + length), GapEvidence::CleanEof, stamp.saturating_sub(age));
                }
                Step::Lose(from, length) => drop(shares.lose(span(from, from + length), GapEvidence::Refused)),
                _ => {}
            }
            let before = shares.clone();
            let change = shares.bound(max, stamp + 1);
            prop_assert!(shares.len() <= max);
            prop_assert!(change.asks || shares.open() == before.open());
            let posts = |shares: &RequestedRanges| shares.posts(span(ALWAYS.0, ALWAYS.1));
            prop_assert_eq!(posts(&shares), posts(&before));
            for time in (0..80).map(UnixMillis) {
                let (Some(old), Some(new)) = (before.at(time), shares.at(time)) else {
                    prop_assert!(before.at(time).is_none(), "{:?} is not asked for any more", time);
                    continue;
                };
                prop_assert!(new.since <= old.since && new.wanted >= old.wanted && new.was_settled >= old.was_settled);
                prop_assert!(new.state == old.state || new.state == RangeState::Open && new.wanted == stamp + 1 && change.reopens);
            }
        }
    }
}

/// Counts visits of nodes by this many subscriptions, each of which requests its interval and queries its state four
/// times, while posts arrive and requests are made.
fn visits(count: i64, max: usize, interval: impl Fn(i64) -> TimeRange) -> u64 {
    let (mut shares, before) = (RequestedRanges::default(), work::steps());
    for number in 0..count {
        let (own, stamp) = (interval(number), u64::try_from(number).expect("positive") + 1);
        shares.forget(UnixMillis(-1), 1, stamp);
        shares.request(own, 1, stamp, stamp);
        shares.bound(max, stamp);
        for _ in 0..4 {
            shares.count(own.from);
            assert!(shares.since(own).is_some());
            assert!(shares.posts(own) > 0);
            assert_eq!(shares.states(own).len(), 1);
        }
    }
    prove(&mut shares, ALWAYS);
    work::steps() - before
}

/// Twice the subscriptions cost about twice the work: it grows with the depth of the tree, not with its size.
#[test]
fn work_grows_with_subscriptions_not_with_their_square() {
    type Pattern = fn(i64) -> TimeRange;
    let patterns: [(&str, Pattern); 5] = [
        ("newest first", |number| span(1_000_000 - 10 * number, 1_000_010)),
        ("oldest first", |number| span(10 * number, 1_000_010)),
        ("mixed", |number| span(number * 7_919 % 100_003, 1_000_010)),
        ("separate", |number| span(20 * number, 20 * number + 10)),
        ("overlapping", |number| span(10 * number, 10 * number + 100)),
    ];
    for max in [usize::MAX, 1_000] {
        for (name, pattern) in patterns {
            let [few, many] = [1_000, 16_000].map(|count| visits(count, max, pattern));
            assert!(many < 16_000 * 700, "{name}: {many} visits of 16,000 subscriptions");
            assert!(many < 16 * few * 3, "{name}: {few} visits of 1,000 subscriptions, {many} of 16,000");
        }
    }
}
