//! The leader's writer for each answer of the shared log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::hub::test_util::{EPOCH, TERM, post_record};
use crate::ingest::replication::last_counted::LastCounted;
use crate::ingest::replication::{
    FollowCounters, LeadershipEnd, ReplicaPlace, ReplicatedAppendError, ReplicatedWriter, WritePermit, WriterConfig,
};
use crate::journal::{self, AppendError, Backend, Journal, WriterIdentity};
use crate::model::{Record, RecordBody, UnixMillis};
use crate::quorum::{
    LogInfo, LogPlace, MemoryCluster, MemoryConfig, Message, Quorum, QuorumLog, SharedAppendError, SharedIdentity,
    Stored, Unavailable,
};

/// What the shared log does with an append.
#[derive(Clone, Copy)]
enum Answer {
    Stored,
    /// Stored, and the answer is lost.
    Unanswered,
    Lost,
    Elsewhere,
    /// Another replica's message is at the place.
    Taken,
    /// The place is used, and not readable.
    Unreadable,
    Rejected,
}

/// A shared log with scripted answers.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Answer>>,
    stored: Mutex<Vec<Message>>,
    attempts: Mutex<Vec<(LogPlace, Message)>>,
    is_gone: AtomicBool,
    /// What is stored is removed.
    is_purged: AtomicBool,
}

impl QuorumLog for Scripted {
    fn info(&self) -> BoxFuture<'_, Result<Option<LogInfo>, Unavailable>> {
        let (created, identity) = ("1".into(), SharedIdentity::of_log(EPOCH));
        let last = self.stored.lock().len() as LogPlace;
        let first = if self.is_purged.load(Ordering::Relaxed) { last + 1 } else { 1 };
        let info = LogInfo { created, identity, first, last };
        std::future::ready(Ok(Some(info).filter(|_| !self.is_gone.load(Ordering::Relaxed)))).boxed()
    }

    fn create(&self, _: SharedIdentity) -> BoxFuture<'_, Result<LogInfo, Unavailable>> {
        std::future::ready(Err(Unavailable("not scripted".into()))).boxed()
    }

    fn append(&self, expected: LogPlace, message: Message) -> BoxFuture<'_, Result<LogPlace, SharedAppendError>> {
        self.attempts.lock().push((expected, message.clone()));
        let mut stored = self.stored.lock();
        let is_end = stored.len() as LogPlace == expected;
        let answer = match self.answers.lock().pop_front().unwrap_or(Answer::Stored) {
            Answer::Taken => {
                stored.push(Message { payload: "another".into(), ..message });
                Err(SharedAppendError::Conflict { expected })
            }
            Answer::Unreadable => Err(SharedAppendError::Conflict { expected }),
            Answer::Lost => Err(SharedAppendError::Unknown("lost".into())),
            Answer::Rejected => Err(SharedAppendError::Rejected("too long".into())),
            Answer::Elsewhere => Ok(expected + 7),
            _ if !is_end => Err(SharedAppendError::Conflict { expected }),
            answer => {
                stored.push(message);
                match answer {
                    Answer::Stored => Ok(expected + 1),
                    _ => Err(SharedAppendError::Unknown("lost".into())),
                }
            }
        };
        std::future::ready(answer).boxed()
    }

    fn read(&self, from: LogPlace, _: usize) -> BoxFuture<'_, Result<Vec<Stored>, Unavailable>> {
        let stored = self.stored.lock();
        let is_kept = !self.is_purged.load(Ordering::Relaxed);
        let found = stored.get(from as usize - 1).filter(|_| is_kept).cloned();
        std::future::ready(Ok(found.map(|message| Stored { place: from, message }).into_iter().collect())).boxed()
    }
}

struct TestEnv {
    clock: Clock,
    log: Arc<Scripted>,
    journal: Journal,
    writer: ReplicatedWriter,
    lease_until: Arc<Mutex<Option<crate::clock::Moment>>>,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl TestEnv {
    fn new(answers: &[Answer]) -> Self {
        let clock = Clock::of_runtime(UnixMillis(1_700_000_000_000));
        let memory = MemoryCluster::new(MemoryConfig::default(), clock.clone()).replica("a");
        let log = Arc::new(Scripted { answers: Mutex::new(answers.iter().copied().collect()), ..Scripted::default() });
        let shared = Quorum { log: log.clone(), ..memory };
        let config = journal::Config { backend: Backend::Memory, ..journal::Config::default() };
        let journal = journal::open_memory(&config, WriterIdentity { epoch: EPOCH, term: TERM });
        let lease_until = Arc::new(Mutex::new(Some(clock.moment().plus(Duration::from_secs(60)))));
        let permit = {
            let (until, clock) = (lease_until.clone(), clock.clone());
            WritePermit::new(move || until.lock().filter(|until| clock.moment() < *until))
        };
        let parts = (shared, clock.clone(), WriterConfig { append_patience: PATIENCE, ..WriterConfig::default() });
        let place = ReplicaPlace::start("1".into(), EPOCH);
        let place = (place.clone(), LastCounted::at(&place));
        let writer = ReplicatedWriter::new(parts, FollowCounters::default(), permit, TERM, place);
        Self { clock, log, journal, writer, lease_until }
    }

    async fn append(&mut self) -> Result<(), ReplicatedAppendError> {
        let term = Record { body: RecordBody::Term, ..post_record(1, &[]) };
        self.writer.append(&mut *self.journal.writer, &[term, post_record(2, &["a"])]).await
    }

    fn appended(&self) -> u64 {
        self.journal.reader.extent().next - 1
    }
}

fn ended(result: Result<(), ReplicatedAppendError>) -> Option<LeadershipEnd> {
    match result {
        Ok(()) => None,
        Err(ReplicatedAppendError::Ended(end)) => Some(end),
        Err(ReplicatedAppendError::Journal(error)) => panic!("{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_answer_has_its_outcome() {
    use Answer::{Elsewhere, Lost, Rejected, Stored, Taken, Unanswered, Unreadable};
    let fenced = LeadershipEnd::Fenced { place: 1 };
    let misplaced = LeadershipEnd::Misplaced { expected: 1, actual: 7 };
    let rejected = LeadershipEnd::Rejected("too long".into());
    for (name, answers, expected, attempts) in [
        ("stored", &[Stored][..], None, 1),
        ("lost twice", &[Lost, Lost, Stored], None, 3),
        ("lost answer", &[Unanswered], None, 2),
        ("another replica", &[Taken], Some(fenced.clone()), 1),
        ("another replica after a lost request", &[Lost, Taken], Some(fenced), 2),
        ("place is not readable at first", &[Unanswered, Unreadable, Unreadable], None, 2),
        ("no comparison", &[Elsewhere], Some(misplaced), 1),
        ("rejected", &[Rejected], Some(rejected), 1),
        ("rejected while in doubt", &[Lost, Rejected, Stored], None, 3),
    ] {
        let mut env = TestEnv::new(answers);
        assert_eq!(ended(env.append().await), expected, "{name}");
        assert_eq!(env.appended(), if expected.is_none() { 2 } else { 0 }, "{name}: appended only if stored");
        assert_eq!(env.writer.place().last, u64::from(expected.is_none()), "{name}");
        let made = env.log.attempts.lock();
        assert_eq!(made.len(), attempts, "{name}");
        assert!(made.iter().all(|attempt| *attempt == made[0]), "{name}: the same bytes for the same place");
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_outcome_is_reported_after_patience() {
    let mut env = TestEnv::new(&[Answer::Lost; 40]);
    let began = env.clock.moment();
    let error = env.append().await.expect_err("no answer");
    assert!(matches!(error, ReplicatedAppendError::Journal(AppendError::Unknown(_))), "{error}");
    let waited = env.clock.moment().since(began);
    assert!((PATIENCE..PATIENCE * 2).contains(&waited), "{waited:?}");
    assert_eq!(env.appended(), 0);
    env.log.answers.lock().clear();
    assert_eq!(ended(env.append().await), None);
    assert_eq!(env.appended(), 2);
    let made = env.log.attempts.lock();
    assert!(made.iter().all(|attempt| *attempt == made[0]), "the same bytes for the same place");
}

/// Whether the removed message was its own is not known.
#[tokio::test(start_paused = true)]
async fn append_ends_where_its_message_is_removed() {
    let mut env = TestEnv::new(&[Answer::Unanswered]);
    env.log.is_purged.store(true, Ordering::Relaxed);
    assert_eq!(ended(env.append().await), Some(LeadershipEnd::Trimmed { place: 1 }));
    assert_eq!(env.appended(), 0);
}

/// A candidate creates it again.
#[tokio::test(start_paused = true)]
async fn append_ends_without_log() {
    let mut env = TestEnv::new(&[Answer::Lost; 40]);
    env.log.is_gone.store(true, Ordering::Relaxed);
    let began = env.clock.moment();
    assert_eq!(ended(env.append().await), Some(LeadershipEnd::NoLog));
    assert!(env.clock.moment().since(began) >= PATIENCE);
    assert_eq!(env.appended(), 0);
}

#[tokio::test(start_paused = true)]
async fn append_ends_with_lease() {
    for (answers, in_doubt) in [(&[][..], false), (&[Answer::Lost; 400], true)] {
        let mut env = TestEnv::new(answers);
        if answers.is_empty() {
            *env.lease_until.lock() = None;
        }
        let end = loop {
            match env.append().await {
                Err(ReplicatedAppendError::Journal(AppendError::Unknown(_))) => {}
                other => break ended(other),
            }
        };
        assert_eq!(end, Some(LeadershipEnd::LeaseEnded { in_doubt }));
        assert_eq!((env.appended(), env.log.attempts.lock().is_empty()), (0, !in_doubt));
    }
}
