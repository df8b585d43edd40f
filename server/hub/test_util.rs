//! In-memory logs and records for tests of this module and of higher ones.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::registry::Registry;

use super::entry::{self, Entry};
use super::token::Keyring;
use super::{Config, Hub, HubParts, Metrics};
use crate::clock::Clock;
use crate::journal::{self, Backend, Disk, LogStart, Reader, SystemDisk, Writer};
use crate::model::{
    AccountName, Epoch, Origin, Post, PostId, Record, RecordBody, Rule, RulesCause, RulesChange, Sequence, Skip,
    SkipReason, Term, TimeInterval, UnixMillis,
};

/// Term of every record here.
pub const TERM: Term = Term(1);
/// Epoch of every log here.
pub const EPOCH: Epoch = Epoch(7);
/// Epoch of every side log here.
pub const SIDE_EPOCH: Epoch = Epoch(!EPOCH.0);

/// Creates the hub of the account `main` over a new in-memory log, and its writer.
pub fn new_hub(config: Config, clock: Clock) -> (Arc<Hub>, Box<dyn Writer>) {
    let settings = journal::Config { backend: Backend::Memory, ..journal::Config::default() };
    let (hub, writer, _) = hub_over(&settings, &settings, config, clock);
    (hub, writer)
}

/// Creates the hub of the account `main` over new in-memory logs, and the writers of its log and of its side log.
pub fn hub_over(
    main: &journal::Config,
    side: &journal::Config,
    config: Config,
    clock: Clock,
) -> (Arc<Hub>, Box<dyn Writer>, Box<dyn Writer>) {
    hub_through([main, side], [&new_log(EPOCH), &new_log(SIDE_EPOCH)], (config, clock), |reader| reader)
}

/// The same over logs that begin where these are.
pub fn hub_at(
    settings: &journal::Config,
    starts: [&LogStart; 2],
    config: Config,
    clock: Clock,
) -> (Arc<Hub>, Box<dyn Writer>, Box<dyn Writer>) {
    hub_through([settings, settings], starts, (config, clock), |reader| reader)
}

fn new_log(epoch: Epoch) -> LogStart {
    LogStart { epoch, terms: Vec::new(), next: 1 }
}

/// Creates the hub of the account `main` over a new in-memory log that it reads through a wrapper, and its writer.
pub fn hub_watched(
    config: Config,
    clock: Clock,
    watch: impl FnOnce(Arc<dyn Reader>) -> Arc<dyn Reader>,
) -> (Arc<Hub>, Box<dyn Writer>) {
    let settings = journal::Config { backend: Backend::Memory, ..journal::Config::default() };
    let (hub, writer, _) = hub_through([&settings; 2], [&new_log(EPOCH), &new_log(SIDE_EPOCH)], (config, clock), watch);
    (hub, writer)
}

fn hub_through(
    settings: [&journal::Config; 2],
    starts: [&LogStart; 2],
    (config, clock): (Config, Clock),
    watch: impl FnOnce(Arc<dyn Reader>) -> Arc<dyn Reader>,
) -> (Arc<Hub>, Box<dyn Writer>, Box<dyn Writer>) {
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let open = |at: usize| journal::open_at(settings[at], Path::new(""), starts[at], TERM, UnixMillis(0), &disk);
    let (journal, side) = (open(0).expect("memory"), open(1).expect("memory"));
    let parts = HubParts {
        account: AccountName::new("main").expect("a name"),
        config,
        tags: Vec::new(),
        clock,
        reader: watch(journal.reader),
        side: side.reader,
        keyring: Arc::new(Keyring::from_bytes(&[1; 32])),
        metrics: Metrics::register(&mut Registry::default()),
    };
    (Arc::new(Hub::new(parts, starts[0].next)), journal.writer, side.writer)
}

/// Returns the clock after an answer of X confirmed it.
pub fn confirmed(clock: Clock) -> Clock {
    clock.observe(clock.now(), clock.moment());
    clock
}

/// Creates a live post with these tags; its rules are numbered from 1.
pub fn post_record(sequence: Sequence, tags: &[&str]) -> Record {
    let rules = tags.iter().enumerate().map(|(at, tag)| Rule { id: Some(at as u64 + 1), tag: Some((*tag).into()) });
    let post = Post {
        id: PostId(1_000_000_000_000 + sequence),
        rules: rules.collect(),
        origin: Origin::Live,
        gap: None,
        counterpart: None,
        counterpart_rules: None,
        previous: None,
        json: Bytes::from(format!("{{\"n\":{sequence}}}")),
    };
    record(sequence, RecordBody::Post(post))
}

/// Encodes a record.
pub fn encoded(record: Record) -> Arc<Entry> {
    entry::encode(vec![record]).pop().expect("one for each record")
}

/// Creates a skip of one malformed message.
pub fn skip_record(sequence: Sequence) -> Record {
    let time = UnixMillis(sequence as i64);
    let window = TimeInterval { from: time, to: Some(time) };
    record(sequence, RecordBody::Skip(Skip { reason: SkipReason::Malformed, count: 1, window }))
}

/// Creates a change of rules: those with the first tags are replaced by those with the other ones.
pub fn rules_record(sequence: Sequence, removed: &[&str], added: &[&str]) -> Record {
    let rule = |(at, tag): (usize, &&str)| Rule { id: Some(at as u64), tag: Some((**tag).into()) };
    let rules = |tags: &[&str]| tags.iter().enumerate().map(rule).collect::<Vec<_>>();
    let change = RulesChange::between(&rules(removed), &rules(added), sequence, RulesCause::Call, UnixMillis(0));
    record(sequence, RecordBody::Rules(Arc::new(change.expect("a change"))))
}

fn record(sequence: Sequence, body: RecordBody) -> Record {
    Record { sequence, term: TERM, received: UnixMillis(sequence as i64), body }
}
