use super::*;
use crate::journal::{self, Config, Journal, WriterIdentity};
use crate::model::{Epoch, GapEvidence, GapState, Term};

fn gap(id: u64, from: i64, to: Option<i64>, state: GapState) -> Gap {
    Gap {
        id: GapId(id),
        window: TimeInterval { from: UnixMillis(from), to: to.map(UnixMillis) },
        cause: GapCause::Stale,
        state,
        evidence: GapEvidence::None,
        progress: None,
        recovered: 0,
    }
}

fn span(from: i64, to: i64) -> TimeRange {
    TimeRange::new(UnixMillis(from), UnixMillis(to))
}

fn check(asked: TimeRange, gaps: &[Gap], held: Option<TimeRange>, expected: &[(i64, i64, &str)]) {
    let found = missing(asked, gaps, held);
    let reported: Vec<_> = found
        .iter()
        .map(|missing| {
            let why = match &missing.why {
                MissingReason::Gap(gap) => gap.id.to_string(),
                MissingReason::Trimmed => "trimmed".into(),
                MissingReason::NotYet => "not yet".into(),
            };
            (missing.span.from.0, missing.span.to.0, why)
        })
        .collect();
    let expected: Vec<_> = expected.iter().map(|(from, to, why)| (*from, *to, (*why).to_owned())).collect();
    assert_eq!(reported, expected);
}

#[test]
fn missing_range_is_reported_once_with_reason() {
    let held = Some(span(100, 900));
    check(span(100, 900), &[], held, &[]);
    check(span(0, 1_000), &[], held, &[(0, 100, "trimmed"), (900, 1_000, "not yet")]);
    check(span(0, 50), &[], held, &[(0, 50, "trimmed")]);
    check(span(950, 1_000), &[], held, &[(950, 1_000, "not yet")]);
    let lost = gap(1, 50, Some(200), GapState::Unrecoverable);
    let closed = gap(2, 300, Some(400), GapState::Recovered);
    let mut half = gap(3, 500, Some(600), GapState::Recovering);
    half.progress = Some(UnixMillis(550));
    let open = gap(4, 850, None, GapState::Detected);
    let gaps = [lost, closed, half, open];
    let all = [(0, 50, "trimmed"), (50, 200, "g1"), (550, 600, "g3"), (850, 1_000, "g4")];
    check(span(0, 1_000), &gaps, held, &all);
    check(span(560, 570), &gaps, held, &[(560, 570, "g3")]);
    check(span(200, 550), &gaps, held, &[]);
}

#[test]
fn empty_log_covers_nothing_yet() {
    check(span(5, 9), &[], None, &[(5, 9, "not yet")]);
}

/// The arrival of the record `n` of these logs.
fn at(n: i64) -> UnixMillis {
    UnixMillis(1_700_000_000_000 + n * 1_000)
}

fn log(bodies: Vec<(i64, RecordBody)>) -> Journal {
    let config = Config { retention_age_max: Duration::MAX, ..Config::default() };
    let mut journal = journal::open_memory(&config, WriterIdentity { epoch: Epoch(1), term: Term(1) });
    let record = |(sequence, (time, body))| Record { sequence, term: Term(1), received: at(time), body };
    let records: Vec<Record> = (1..).zip(bodies).map(record).collect();
    journal.writer.append(&records).expect("there is room");
    journal
}

fn skip(from: i64, to: i64, count: u64) -> (i64, RecordBody) {
    let window = TimeInterval { from: at(from), to: Some(at(to)) };
    (to, RecordBody::Skip(Skip { reason: SkipReason::Malformed, count, window }))
}

fn closed_gap(id: u64, from: i64, to: i64, state: GapState) -> RecordBody {
    let window = TimeInterval { from: at(from), to: Some(at(to)) };
    RecordBody::Gap(Gap { window, ..gap(id, 0, None, state) })
}

/// Sequences of the skips found for an interval, with 30 s of allowed lateness.
fn search(journal: &Journal, (from, to): (i64, i64), gaps: &[Gap], bytes_max: u64) -> (Vec<Sequence>, Coverage) {
    let mut search = Search::new(TimeRange::new(at(from), at(to)), at(to + 30), Duration::ZERO, gaps);
    search.run(&*journal.reader, bytes_max).expect("it is readable");
    search.add_known(journal.reader.damage());
    (search.found.skips.iter().map(|(sequence, _)| *sequence).collect(), search.found)
}

/// Rule 1.10: what was skipped in the interval is found, and what was skipped elsewhere is not.
#[test]
fn skipped_messages_of_interval_are_found() {
    let journal = log(vec![skip(10, 11, 1), skip(50, 51, 2), skip(99, 100, 4), skip(140, 141, 8)]);
    let cases: [((i64, i64), &[Sequence], u64); 7] = [
        ((0, 200), &[1, 2, 3, 4], 15),
        ((20, 45), &[2], 2),
        ((52, 60), &[], 0),
        ((51, 55), &[], 0),
        ((50, 51), &[2], 2),
        ((100, 105), &[], 0),
        ((100, 110), &[4], 8),
    ];
    for (asked, expected, count) in cases {
        let (found, coverage) = search(&journal, asked, &[], 1 << 20);
        assert_eq!((&found[..], coverage.skipped_count), (expected, count), "{asked:?}");
        assert_eq!(coverage.is_complete(), expected.is_empty());
    }
}

/// A message that waited in the socket while the reader was stopped has the time of before the stop.
#[test]
fn skips_dated_before_stop_of_reader_are_found() {
    let body = |from: i64, to: i64| skip(from, to, 1).1;
    let journal = log(vec![skip(10, 11, 1), (100, body(100, 700)), (100, body(100, 101)), skip(800, 801, 1)]);
    let find = |journal: &Journal, asked: (i64, i64), delay: u64| {
        let span = TimeRange::new(at(asked.0), at(asked.1));
        let mut search = Search::new(span, at(asked.1 + 30), Duration::from_secs(delay), &[]);
        search.run(&*journal.reader, 1 << 20).expect("it is readable");
        search.found.skips.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>()
    };
    for (asked, expected) in [((300, 400), &[2][..]), ((50, 100), &[2, 3]), ((699, 700), &[2]), ((700, 760), &[])] {
        assert_eq!(find(&journal, asked, 600), expected, "{asked:?}");
    }
    assert_eq!(find(&journal, (300, 400), 0), [] as [Sequence; 0], "the delay is what finds it");
    // Records of the same reads, up to the time of the read, are in front of it.
    let journal = log(vec![skip(10, 11, 1), skip(650, 651, 1), (100, body(100, 700))]);
    assert_eq!([0, 600].map(|delay| find(&journal, (150, 160), delay)), [vec![], vec![3]]);
}

/// Rule 1.10: a message that was skipped while a gap was closed may have been created in the gap.
#[test]
fn skips_while_gap_closes_belong_to_it() {
    let journal = log(vec![
        (100, closed_gap(7, 70, 200, GapState::Detected)),
        skip(1_000, 1_001, 1),
        (1_100, closed_gap(7, 70, 200, GapState::Recovered)),
        skip(1_200, 1_201, 1),
    ]);
    let RecordBody::Gap(known) = closed_gap(7, 70, 200, GapState::Recovered) else { unreachable!("it is a gap") };
    assert_eq!(search(&journal, (80, 90), std::slice::from_ref(&known), 1 << 20).0, [2]);
    assert_eq!(search(&journal, (300, 310), &[known], 1 << 20).0, [] as [Sequence; 0]);
}

/// The answer is bounded, and marked as such.
#[test]
fn skips_beyond_bound_are_counted_not_listed() {
    let many = SKIPS_MAX as i64 + 5;
    let journal = log((0..many).map(|n| skip(n, n + 1, 3)).collect());
    let (found, coverage) = search(&journal, (0, many), &[], u64::MAX);
    assert_eq!((found.len(), coverage.skipped_count, coverage.truncated), (SKIPS_MAX, 3 * many as u64, true));
    let (_, coverage) = search(&journal, (0, many), &[], 1_000);
    assert!(coverage.truncated && !coverage.is_complete());
}

/// Rule 1.10: damage in the interval is found, be it met on the way or known before, and counted once.
#[test]
fn damage_of_interval_is_found() {
    let check = |asked: (i64, i64), met: bool, known: bool, expected: u64| {
        let mut search = Search::new(TimeRange::new(at(asked.0), at(asked.1)), at(asked.1 + 30), Duration::ZERO, &[]);
        let (first, last, from, to) = (5, 9, at(50), at(60));
        if met {
            search.take(ReadItem::Damaged { first, last, from, to });
        }
        search.add_known(if known { vec![Damage { first, last, from, to }] } else { Vec::new() });
        let found = search.found;
        assert_eq!((found.skipped_count, found.is_complete()), (expected, expected == 0), "{asked:?} {met} {known}");
        assert!(found.skips.iter().all(|(first, skip)| *first == 5 && skip.reason == SkipReason::JournalCorrupt));
    };
    for (met, known) in [(true, false), (false, true), (true, true)] {
        check((0, 100), met, known, 5);
        check((52, 53), met, known, 5);
        check((10, 21), met, known, 5);
        check((10, 19), met, known, 0);
        check((61, 90), met, known, 0);
    }
    check((0, 100), false, false, 0);
}
