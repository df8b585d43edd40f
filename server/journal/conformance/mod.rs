//! Conformance tests: run against every backend; `files`, `damage` and `threads` cover the backend with files.
//!
//! Owns: the contract of `journal` as tests. A new backend must pass them; a new guarantee gets its test here first.
//! Disk failures are injected through `Disk`, never through global state, so that tests run in
//! parallel.

mod ages;
mod blocks;
mod damage;
mod faulty_disk;
mod files;
mod formats;
mod space;
mod syncing;
mod threads;
mod unreadable;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;

use self::faulty_disk::{DiskFaults, FaultyDisk, Unreadable};
use super::*;
use crate::clock::Moment;
use crate::model::{
    Epoch, Gap, GapCause, GapEvidence, GapId, GapState, IndexKey, KeyFilter, Origin, Post, PostId, Record, RecordBody,
    Rule, RulesCause, RulesChange, Sequence, Skip, SkipReason, Term, TermStart, TimeInterval,
};

/// Start time of these tests.
pub(super) const T0: i64 = 1_700_000_000_000;
pub(super) const START: Moment = Moment::ZERO;
pub(super) const EPOCH: Epoch = Epoch(0xfeed << 100);

pub(super) fn identity(term: u64) -> WriterIdentity {
    WriterIdentity { epoch: EPOCH, term: Term(term) }
}

pub(super) fn small_segments() -> Config {
    Config { segment_bytes_max: 4 << 10, disk_headroom_bytes_min: 0, ..Config::default() }
}

/// Creates a post with one rule of this tag ("" = no rule), received at its sequence, in seconds.
pub(super) fn post(sequence: Sequence, tag: &str) -> Record {
    let rules: Arc<[Rule]> = match tag {
        "" => [].into(),
        tag => [Rule { id: Some(tag.len() as u64), tag: Some(tag.into()) }].into(),
    };
    let json: String = format!(r#"{{"id_str":"{sequence}","text":"{}"}}"#, "word ".repeat(10 + sequence as usize % 7));
    let post = Post {
        id: PostId(sequence * 3),
        rules,
        origin: Origin::Live,
        gap: None,
        counterpart: None,
        counterpart_rules: None,
        previous: None,
        json: Bytes::from(json),
    };
    Record { sequence, term: Term(1), received: UnixMillis(T0 + sequence as i64 * 1_000), body: RecordBody::Post(post) }
}

pub(super) fn gap(sequence: Sequence) -> Record {
    let window = TimeInterval { from: UnixMillis(T0), to: None };
    let gap = Gap {
        id: GapId(sequence),
        window,
        cause: GapCause::Stale,
        state: GapState::Detected,
        evidence: GapEvidence::None,
        progress: None,
        recovered: 0,
    };
    Record { body: RecordBody::Gap(gap), ..post(sequence, "") }
}

pub(super) fn rules_change(sequence: Sequence) -> Record {
    let rule = |id: u64| Rule { id: Some(id), tag: Some(format!("t{id}").into()) };
    let change = RulesChange::between(&[rule(1)], &[rule(2)], sequence, RulesCause::Call, UnixMillis(T0));
    let change = change.expect("one rule is another");
    Record { body: RecordBody::Rules(Arc::new(change)), ..post(sequence, "") }
}

pub(super) fn with_term(term: u64, records: Vec<Record>) -> Vec<Record> {
    records.into_iter().map(|record| Record { term: Term(term), ..record }).collect()
}

/// Reads everything from `from` on, in chunks of `bytes_max`.
pub(super) fn read_all(reader: &dyn Reader, from: Sequence, keys: &KeyFilter, bytes_max: usize) -> Vec<ReadItem> {
    let mut items = Vec::new();
    let mut at = from;
    loop {
        let chunk = reader.read(at, keys, bytes_max).expect("nothing is trimmed meanwhile");
        assert!(chunk.next >= at && chunk.next <= reader.extent().next);
        items.extend(chunk.items);
        if chunk.next == at {
            return items;
        }
        at = chunk.next;
    }
}

pub(super) fn records(items: Vec<ReadItem>) -> Vec<Record> {
    let record = |item| match item {
        ReadItem::Record(record) => record,
        damaged @ ReadItem::Damaged { .. } => panic!("nothing is damaged here: {damaged:?}"),
    };
    items.into_iter().map(record).collect()
}

pub(super) fn embedded(dir: &Path, config: &Config, term: u64) -> Journal {
    open_embedded(config, dir, identity(term), UnixMillis(T0)).expect("the directory is ours")
}

/// Runs a test against each backend.
fn each(config: &Config, test: impl Fn(&mut Journal)) {
    test(&mut open_memory(config, identity(1)));
    let dir = tempfile::tempdir().expect("a directory");
    test(&mut embedded(dir.path(), config, 1));
}

#[test]
fn readers_see_what_was_appended_in_dense_order() {
    each(&small_segments(), |journal| {
        let reader = journal.reader.clone();
        assert_eq!((reader.extent().earliest, reader.extent().next, reader.extent().newest_received), (1, 1, None));
        assert_eq!(reader.read(1, &KeyFilter::Always, 1_000).expect("an empty log").next, 1);
        let all: Vec<Record> = (1..=500).map(|n| if n % 97 == 0 { gap(n) } else { post(n, "cats") }).collect();
        for (at, batch) in all.chunks(7).enumerate() {
            journal.writer.append(batch).expect("there is room");
            let last = batch.last().expect("chunks are not empty");
            assert_eq!(reader.extent().next, last.sequence + 1);
            assert_eq!(reader.extent().newest_received, Some(last.received));
            let seen = reader.read(batch[0].sequence, &KeyFilter::Always, 1 << 20).expect("it was appended");
            assert_eq!(records(seen.items), batch, "batch {at}");
        }
        for bytes_max in [0, 1, 700, 1 << 20] {
            assert_eq!(records(read_all(&*reader, 1, &KeyFilter::Always, bytes_max)), all, "{bytes_max} bytes");
        }
        for from in [2, 13, 250, 499, 500] {
            assert_eq!(records(read_all(&*reader, from, &KeyFilter::Always, 1 << 12)), all[from as usize - 1..]);
        }
        assert_eq!(reader.terms()[..], [TermStart { term: Term(1), first: 1 }]);
        assert_eq!(reader.epoch(), EPOCH);
    });
}

#[test]
fn batch_with_sequence_jump_panics() {
    each(&small_segments(), |journal| {
        journal.writer.append(&[post(1, "a")]).expect("there is room");
        let writer = &mut journal.writer;
        let mut check = |batch: &[Record]| {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.append(batch)));
            assert!(result.is_err(), "{batch:?}");
        };
        check(&[post(3, "a")]);
        check(&[post(1, "a")]);
        check(&[post(2, "a"), post(4, "a")]);
        check(&with_term(2, vec![post(2, "a")]));
        assert_eq!(journal.reader.extent().next, 2);
        journal.writer.append(&[post(2, "a")]).expect("append after the failure");
    });
}

#[test]
fn filtered_reader_gets_matches_and_notices() {
    each(&small_segments(), |journal| {
        let tags = ["cats.eu", "dogs", "", "cats.us", "birds"];
        for n in 1..=400_u64 {
            let record =
                if n == 133 { gap(n) } else { post(n, if n % 10 == 0 { tags[(n / 10) as usize % 5] } else { "fish" }) };
            journal.writer.append(&[record]).expect("there is room");
        }
        let check = |keys: &[IndexKey], expected: &dyn Fn(&str) -> bool| {
            let keys = KeyFilter::AnyOf(keys.into());
            let given = records(read_all(&*journal.reader, 1, &keys, 300));
            let all = records(read_all(&*journal.reader, 1, &KeyFilter::Always, 1 << 20));
            for record in all {
                let tag = record.body.post().map(|post| post.tags().next().map_or("", |tag| tag).to_owned());
                if tag.is_none_or(|tag| expected(&tag)) {
                    assert!(given.contains(&record), "{keys:?} {}", record.sequence);
                }
            }
            assert!(given.len() < 200, "{keys:?}: what cannot match is passed over");
        };
        check(&[IndexKey::Tag("dogs".into())], &|tag| tag == "dogs");
        check(&[IndexKey::Prefix("cats.".into())], &|tag| tag.starts_with("cats."));
        check(&[IndexKey::Rule(5), IndexKey::Tag("dogs".into())], &|tag| tag == "birds" || tag == "dogs");
        check(&[IndexKey::Tag("none".into())], &|_| false);
    });
}

#[test]
fn page_contains_all_records_of_its_blocks() {
    each(&small_segments(), |journal| {
        let all: Vec<Record> = (1..=300).map(|n| post(n, if n % 9 == 0 { "rare" } else { "a" })).collect();
        all.chunks(7).for_each(|batch| journal.writer.append(batch).expect("there is room"));
        for round in 0..30 {
            for at in 1..=300 {
                let first = journal.reader.page_start(at, &KeyFilter::Always).expect("held").expect("sound");
                let chunk = journal.reader.read_page(first, 1_000).expect("held");
                let given = records(chunk.items);
                assert!(first <= at && at < chunk.next, "{at} is in {first}..{}", chunk.next);
                assert_eq!(given, all[first as usize - 1..chunk.next as usize - 1], "round {round}");
                let behind = journal.reader.page_start(chunk.next, &KeyFilter::Always).expect("held");
                assert!(chunk.next == 301 || behind == Some(chunk.next), "nothing is read twice");
            }
            let none = KeyFilter::AnyOf([IndexKey::Tag("none".into())].into());
            assert_eq!(journal.reader.page_start(5, &none).expect("held"), None);
            journal.maintenance.step(START).expect("a step");
        }
    });
}

#[test]
fn seek_finds_first_record_at_or_after() {
    each(&small_segments(), |journal| {
        let mut received = T0;
        let mut times = Vec::new();
        for n in 1..=300_u64 {
            // Several records in one millisecond, and pauses of minutes.
            received += [0, 0, 1, 250, 60_000][(n * n % 5) as usize];
            times.push(received);
        }
        let all: Vec<Record> =
            (1..).zip(&times).map(|(n, &time)| Record { received: UnixMillis(time), ..post(n, "a") }).collect();
        for batch in all.chunks(4) {
            journal.writer.append(batch).expect("there is room");
        }
        for time in times.iter().flat_map(|time| [time - 1, *time, time + 1]).chain([0, i64::MAX]) {
            let expected = times.partition_point(|it| *it < time) as u64 + 1;
            assert_eq!(journal.reader.seek(UnixMillis(time)).expect("a seek"), expected, "{time}");
        }
    });
}

#[test]
fn trim_keeps_table_of_terms() {
    let config = Config { retention_age_max: Duration::from_secs(240), ..small_segments() };
    each(&config, |journal| {
        let time = |seconds: i64| UnixMillis(T0 + seconds * 1_000);
        let at = |seconds| START.plus(Duration::from_secs(seconds));
        let mut report = MaintenanceReport::default();
        for n in 1..=300 {
            journal.writer.append(&[post(n, "a")]).expect("there is room");
            report = journal.maintenance.step(at(n)).expect("a step");
        }
        let extent = journal.reader.extent();
        assert!(extent.earliest > 20 && extent.earliest <= 61, "whole segments: {extent:?}");
        assert_eq!(extent.earliest_received, Some(time(extent.earliest as i64)));
        assert!(report.bytes > 0);
        let trimmed = journal.reader.read(1, &KeyFilter::Always, 1);
        assert!(matches!(trimmed, Err(ReadError::Trimmed { earliest }) if earliest == extent.earliest));
        assert_eq!(journal.reader.seek(time(0)).expect("a seek"), extent.earliest);
        // A log without appends is trimmed, too.
        for _ in 0..2 {
            journal.maintenance.step(at(10_000)).expect("a step");
        }
        let extent = journal.reader.extent();
        let empty = LogBounds { earliest: 301, next: 301, earliest_received: None, newest_received: None };
        assert_eq!(extent, empty);
        assert_eq!(journal.reader.terms().len(), 1);
        journal.writer.append(&[post(301, "a")]).expect("there is room");
        assert_eq!(journal.reader.extent().earliest, 301);
    });
}

#[test]
fn bytes_are_bounded() {
    let config = Config { retention_bytes_max: 600 << 10, segment_bytes_max: 32 << 10, ..small_segments() };
    each(&config, |journal| {
        let mut noise = 1_u64;
        for n in 1..=2_000 {
            let mut record = post(n, "a");
            if let RecordBody::Post(post) = &mut record.body {
                let mut step = || {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n);
                    format!("{:016x}", noise)
                };
                post.json = (0..64).map(|_| step()).collect::<String>().into();
            }
            journal.writer.append(&[record]).expect("there is room");
            if n % 50 == 0 {
                let report = journal.maintenance.step(START).expect("a step");
                assert!(report.bytes <= 700 << 10, "{report:?}");
            }
        }
        let extent = journal.reader.extent();
        assert!(extent.earliest > 500 && extent.earliest < 1_900, "{extent:?}");
    });
}

pub(super) fn any_record() -> impl Strategy<Value = RecordBody> {
    let rule = (any::<Option<u64>>(), proptest::option::of("[a-z.]{0,6}"))
        .prop_map(|(id, tag)| Rule { id, tag: tag.map(Into::into) });
    let rules = proptest::collection::vec(rule, 0..4).prop_map(Arc::<[Rule]>::from);
    let origin = prop_oneof![Just(Origin::Live), Just(Origin::Backfill), Just(Origin::Recovery)];
    let post = (any::<u64>(), rules.clone(), origin, any::<[Option<u64>; 3]>(), ".{0,40}");
    let post = post.prop_map(|(id, rules, origin, [gap, counterpart, previous], json)| Post {
        id: PostId(id),
        origin,
        gap: gap.map(GapId),
        counterpart,
        counterpart_rules: previous.map(|_| Arc::clone(&rules)),
        rules,
        previous,
        json: json.into(),
    });
    let time = || any::<i64>().prop_map(UnixMillis);
    let window = || (time(), proptest::option::of(time())).prop_map(|(from, to)| TimeInterval { from, to });
    let causes = [GapCause::Disconnected, GapCause::SlowReader, GapCause::JournalUnavailable, GapCause::InvalidRules];
    let states = [GapState::Detected, GapState::Backfilled, GapState::Recovered, GapState::Unrecoverable];
    let evidences = [GapEvidence::None, GapEvidence::BackfillQuiet, GapEvidence::Refused, GapEvidence::Unproven];
    let reasons = [SkipReason::Malformed, SkipReason::ForeignFormat, SkipReason::JournalCorrupt];
    let tag = || "[a-z.]{0,6}".prop_map(Arc::<str>::from);
    let tags = proptest::collection::vec(tag(), 0..3).prop_map(Arc::<[Arc<str>]>::from);
    let rules_cause = select(vec![RulesCause::Files, RulesCause::Call, RulesCause::Elsewhere]);
    let change = (any::<u64>(), rules.clone(), rules.clone(), tags, rules_cause, time());
    let change = change.prop_map(|(revision, added, removed, orphaned_tags, cause, effective_by)| RulesChange {
        revision,
        added,
        removed,
        orphaned_tags,
        cause,
        effective_by,
    });
    let kind = (select(causes.to_vec()), select(states.to_vec()), select(evidences.to_vec()));
    let gap = (any::<u64>(), window(), kind, proptest::option::of(time()), any::<u64>());
    let gap = gap.prop_map(|(id, window, (cause, state, evidence), progress, recovered)| Gap {
        id: GapId(id),
        window,
        cause,
        state,
        evidence,
        progress,
        recovered,
    });
    let skip = (select(reasons.to_vec()), any::<u64>(), window());
    let skip = skip.prop_map(|(reason, count, window)| Skip { reason, count, window });
    prop_oneof![
        4 => post.clone().prop_map(RecordBody::Post),
        2 => (rules, post).prop_map(|(prior, post)| RecordBody::Delta { prior, post }),
        1 => gap.prop_map(RecordBody::Gap),
        1 => skip.prop_map(RecordBody::Skip),
        1 => Just(RecordBody::Term),
        1 => change.prop_map(|change| RecordBody::Rules(Arc::new(change))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_record_kind_round_trips(
        bodies in proptest::collection::vec((any_record(), 0_i64..5_000), 1..60),
        batch in 1_usize..20,
        bytes_max in 1_usize..400,
    ) {
        let mut received = T0;
        let all: Vec<Record> = (1..).zip(bodies).map(|(sequence, (body, later))| {
            received += later;
            Record { sequence, term: Term(1), received: UnixMillis(received), body }
        }).collect();
        each(&Config { segment_bytes_max: 600, ..small_segments() }, |journal| {
            for batch in all.chunks(batch) {
                journal.writer.append(batch).expect("there is room");
            }
            let given = records(read_all(&*journal.reader, 1, &KeyFilter::Always, bytes_max));
            assert_eq!(given, all);
            for _ in 0..4 {
                journal.maintenance.step(START).expect("a step");
            }
            assert_eq!(records(read_all(&*journal.reader, 1, &KeyFilter::Always, bytes_max)), all);
        });
    }
}
