//! The checkpoint of a gap tracker compared with the journal at the next start.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::clock::{Clock, Correction};
use crate::hub::status::upstream_status::LastActivity;
use crate::hub::test_util::{hub_over, new_hub, post_record};
use crate::hub::{self, Hub};
use crate::journal::{self, Backend};
use crate::model::Record;

/// Creates a log with this many posts, all received now.
fn log(posts: u64, clock: &Clock) -> Arc<Hub> {
    log_received(posts, clock.now(), clock)
}

/// Creates a log with this many posts, all received at this time.
fn log_received(posts: u64, received: UnixMillis, clock: &Clock) -> Arc<Hub> {
    let (hub, mut writer) = new_hub(hub::Config::default(), clock.clone());
    let record = |sequence| Record { received, ..post_record(sequence, &["a"]) };
    let records: Vec<_> = (1..=posts).map(record).collect();
    writer.append(&records).expect("append to memory");
    hub.publish(records);
    hub
}

fn open(hub: &Arc<Hub>, file: &Path) -> GapTracker {
    let setup = TrackerParams {
        hub: hub.clone(),
        config: Config::default(),
        recovery_window: DAY,
        feeds: vec![ALL_FEEDS.to_owned()],
        file: Some(file.to_owned()),
        metrics: Metrics::default(),
    };
    let post = hub.reader().extent().newest_received;
    GapTracker::open(setup, Vec::new(), LogTimes { post, oldest: post })
}

/// The next start finds the same log, or one without the newest records: those were exposed, and are missing.
#[test]
fn shorter_journal_is_found_at_open() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, clock) = (dir.path().join("gaps.json"), Clock::system());
    let hub = log(5, &clock);
    let tracker = open(&hub, &file);
    let now = clock.now();
    tracker.first_byte(0, 0, answer(now, None), now);
    tracker.record_data(0, 0, now, &[now]);
    hub.upstream().record_activity(LastActivity { moment: clock.moment(), time: now });
    tracker.save().expect("written");
    for (posts, cause) in [(5, GapCause::GatewayDown), (6, GapCause::GatewayDown), (4, GapCause::JournalCorrupt)] {
        let found = open(&log(posts, &clock), &file).drain_changes();
        let open = found.last().expect("the outage of the gateway is open");
        assert_eq!((open.cause, open.window.to), (cause, None), "{posts} records: {found:?}");
    }
}

/// A volume was restored from before the first record: nothing from before the log is missing.
#[test]
fn lost_log_misses_nothing_from_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, clock) = (dir.path().join("gaps.json"), Clock::system());
    let (hub, mut writer) = new_hub(hub::Config::default(), clock.clone());
    let tracker = open(&hub, &file);
    let now = clock.now();
    tracker.first_byte(0, 0, answer(now, None), now);
    tracker.record_data(0, 0, now, &[now]);
    let record = Record { received: now, ..post_record(1, &["a"]) };
    writer.append(std::slice::from_ref(&record)).expect("append to memory");
    hub.publish(vec![record]);
    tracker.save().expect("written");
    let found = open(&log(0, &clock), &file).drain_changes();
    let begins = found.iter().map(|gap| gap.window.from).min().expect("all of the log is missing");
    let earliest = now.minus(limits().lag_max());
    assert!(begins >= earliest && begins < now, "{begins} is before {earliest}: {found:?}");
}

/// The log is replaced by a copy that is older than the recovery window: all time since then is announced, and divided
/// into an unrecoverable part and one left to recovery.
#[test]
fn journal_older_than_window_leaves_nothing_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, clock) = (dir.path().join("gaps.json"), Clock::system());
    let tracker = open(&log(5, &clock), &file);
    let now = clock.now();
    tracker.first_byte(0, 0, answer(now, None), now);
    tracker.record_data(0, 0, now, &[now]);
    tracker.save().expect("written");
    let copied = now.minus(3 * DAY);
    let (hub, mut writer) = new_hub(hub::Config::default(), clock.clone());
    let records = vec![Record { received: copied, ..post_record(1, &["a"]) }];
    writer.append(&records).expect("append to memory");
    hub.publish(records);
    let tracker = open(&hub, &file);
    tracker.first_byte(0, 0, answer(now, None), now);
    let mut announced = BTreeMap::new();
    announced.extend(tracker.drain_changes().into_iter().map(|gap| (gap.id, gap)));
    let missing = announced_missing(&announced);
    assert!(missing.covers(TimeRange::new(copied, now)), "{announced:?}");
    let lost = announced.values().find(|gap| gap.state == GapState::Unrecoverable).expect("an unrecoverable part");
    assert_eq!(lost.evidence, GapEvidence::WindowPassed);
}

/// A host hours off, and a process that ends between the correction of its clock and the next checkpoint: the next start
/// has the corrected clock, and what was missed since is in a gap.
#[test]
fn correction_of_clock_is_kept_at_once() {
    for hours in [-3, 3] {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, host) = (dir.path().join("gaps.json"), Clock::system());
        let clock = host.for_account();
        let tracker = open(&log(0, &clock), &file);
        tracker.save().expect("written");
        let date = host.now().shifted(hours * 3_600_000);
        let [_, corrected] = [(); 2].map(|()| clock.observe(date, clock.moment()));
        let Correction::Applied(by_ms) = corrected else { panic!("{hours} h: {corrected:?}") };
        tracker.on_clock_corrected(by_ms);
        let (received, restarted) = (clock.now(), host.for_account());
        let found = open(&log_received(1, received, &restarted), &file).drain_changes();
        assert_eq!(restarted.offset_ms(), clock.offset_ms(), "{hours} h");
        let from = found.iter().map(|gap| gap.window.from).min().expect("the outage is a gap");
        assert!(from <= received, "{hours} h: from {from}, the last post came at {received}");
    }
}

/// A connection ends while its last posts wait in the queue, and the process ends before they are appended: the next start
/// announces the time of these posts. Once they are appended, the gap begins after them.
#[test]
fn unappended_data_of_ended_connection_is_announced() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, clock) = (dir.path().join("gaps.json"), Clock::system());
    let hub = log(5, &clock);
    let tracker = open(&hub, &file);
    let (read, appended) = (clock.now(), clock.now().minus(Duration::from_secs(900)));
    tracker.first_byte(0, 0, answer(appended, None), appended);
    tracker.record_data(0, 0, appended, &[appended]);
    hub.upstream().record_activity(LastActivity { moment: clock.moment(), time: appended });
    tracker.save().expect("written");
    tracker.record_data(0, 0, read, &[read]);
    let hold = tracker.on_disconnect(0, 0, GapCause::Disconnected);
    tracker.save().expect("held back");
    let begin = |file: &Path| {
        let found = open(&log(5, &clock), file).drain_changes();
        found.iter().find(|gap| gap.window.to.is_none()).expect("the outage is a gap").window.from
    };
    let copy = dir.path().join("copy.json");
    std::fs::copy(&file, &copy).expect("it is there");
    assert!(begin(&copy) <= appended, "{} is after {appended}", begin(&copy));
    hub.upstream().record_activity(LastActivity { moment: clock.moment(), time: read });
    hold.release();
    tracker.save().expect("written");
    assert!(begin(&file) > appended && begin(&file) <= read, "{} for {read}", begin(&file));
}

/// Each version of the file costs two syncs, so an unchanged one is written once; a file that was removed is written again.
#[test]
fn unchanged_checkpoint_is_written_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, clock) = (dir.path().join("gaps.json"), Clock::system());
    let tracker = open(&log(5, &clock), &file);
    // A rename gives the file another inode: the old one is still in use.
    let version = || {
        tracker.save().expect("written");
        std::fs::File::open(&file).expect("it is there")
    };
    let inode = |file: &std::fs::File| file.metadata().expect("it is open").ino();
    let (first, second) = (version(), version());
    assert_eq!(inode(&first), inode(&second));
    let now = clock.now();
    tracker.first_byte(0, 0, answer(now, None), now);
    let third = version();
    assert_ne!(inode(&second), inode(&third));
    std::fs::remove_file(&file).expect("the directory is ours");
    assert_ne!(inode(&third), inode(&version()));
}

/// A part of a gap was recovered before a restart, and the rest cannot be: the part keeps its evidence.
#[test]
fn evidence_of_recovered_part_survives_restart() {
    let mut env = TestEnv::new();
    env.connect();
    env.pass(100);
    env.cut(GapCause::SlowReader);
    env.pass(1_000);
    env.connect();
    let time = |seconds: i64| UnixMillis(1_800_000_000_000 + seconds * 1_000);
    let (first, rest) = (TimeRange::new(time(0), time(600)), TimeRange::new(time(600), time(1_130)));
    env.machine.mark_recovered(first, GapEvidence::CompletionMessage, u64::MAX);
    let kept = env.machine.kept.clone();
    env.restart(kept);
    env.machine.mark_unrecoverable(rest, GapEvidence::WindowPassed);
    env.take_changes();
    let ended = env.announced.values().filter(|gap| gap.state.is_final());
    let parts: Vec<_> = ended.map(|gap| (gap.state, gap.evidence)).collect();
    let recovered = (GapState::Recovered, GapEvidence::CompletionMessage);
    assert_eq!(parts, [recovered, (GapState::Unrecoverable, GapEvidence::WindowPassed)]);
}

/// The log has trimmed all records of a gap that is still open: it is announced to a session that continues there.
#[test]
fn gap_with_trimmed_records_stays_open() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, clock) = (dir.path().join("gaps.json"), Clock::system());
    let (hub, began) = (log(5, &clock), clock.now().minus(Duration::from_secs(3_600)));
    let tracker = open(&hub, &file);
    let times = (0..5).map(|minute| began.plus(Duration::from_secs(60 * minute)));
    for (connection, at) in times.enumerate() {
        tracker.first_byte(0, connection, answer(at, None), at);
        tracker.record_data(0, connection, at, &[at]);
        tracker.on_disconnect(0, connection, GapCause::Disconnected).release();
    }
    let announced: Vec<GapId> = tracker.open_gaps().iter().map(|gap| gap.id).collect();
    assert!(announced.len() > 2, "{announced:?}");
    tracker.save().expect("written");
    for (trimmed, expected) in [(0, 0), (1, announced.len()), (40, announced.len())] {
        let settings =
            journal::Config { backend: Backend::Memory, retention_bytes_max: 4_000, ..journal::Config::default() };
        let (hub, mut writer, _side) = hub_over(&settings, &settings, hub::Config::default(), clock.clone());
        while hub.reader().extent().next <= 5 || hub.reader().extent().earliest <= trimmed {
            let record = post_record(hub.reader().extent().next, &["a"]);
            writer.append(std::slice::from_ref(&record)).expect("append to memory");
            hub.publish(vec![record]);
        }
        drop(open(&hub, &file));
        let found = hub.gaps().open_at(hub.reader().extent().earliest, 0, 100).0;
        assert_eq!(found.len(), expected, "{trimmed} records are trimmed: {found:?}");
    }
}
