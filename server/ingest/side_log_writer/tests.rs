use tempfile::TempDir;

use super::*;
use crate::hub::test_util::post_record;
use crate::model::Origin;

/// An account's log and its side log, in files.
struct TestEnv {
    dir: TempDir,
    name: AccountName,
    journal: journal::Config,
    ids: dedup::Config,
    main: Option<Journal>,
    terms: u64,
}

impl TestEnv {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let name = AccountName::new("main").expect("a name");
        Self { dir, name, journal: journal::Config::default(), ids: dedup::Config::default(), main: None, terms: 0 }
    }

    fn identity(&self) -> WriterIdentity {
        WriterIdentity { epoch: Epoch(u128::from(self.terms)), term: Term(self.terms) }
    }

    /// Opens both like a new process.
    fn open(&mut self) -> OpenedSideLog {
        self.main = None;
        self.terms += 1;
        let main = journal::open(&self.journal, self.dir.path(), self.identity(), UnixMillis(0)).expect("opened");
        let side = open(&SideLogParams {
            account: &self.name,
            main: &*main.reader,
            dir: self.dir.path(),
            journal: &self.journal,
            ids: &self.ids,
            bytes_max: 1 << 30,
            window: Duration::from_secs(24 * 3_600),
            is_shared: false,
            identity: self.identity(),
            now: UnixMillis(0),
        });
        self.main = Some(main);
        side.expect("opened")
    }

    /// Appends this many posts to the account's log.
    fn append(&mut self, count: u64) {
        let Self { main, terms, .. } = self;
        let journal = main.as_mut().expect("open");
        let next = journal.reader.extent().next;
        let record = |sequence| Record { term: Term(*terms), ..post_record(sequence, &["a"]) };
        let records: Vec<_> = (next..next + count).map(record).collect();
        journal.writer.append(&records).expect("append works");
    }
}

fn post(id: u64, tags: &[&str], counterpart: Option<Sequence>) -> Post {
    let RecordBody::Post(post) = post_record(id, tags).body else { panic!("it is a post") };
    Post { id: PostId(id), origin: Origin::Recovery, counterpart, ..post }
}

fn side_of(log: &OpenedSideLog) -> SideLog {
    SideLog::new(
        log.reader.clone(),
        crate::clock::Clock::system(),
        crate::hub::side_log::PrivateGapConfig::default(),
        Duration::ZERO,
    )
}

#[test]
fn restart_restores_ids_of_side_log() {
    let mut env = TestEnv::new();
    let mut log = env.open();
    let side = side_of(&log);
    assert!(log.writer.append_post(post(1, &["a"], None), UnixMillis(5)).expect("lookup works"));
    assert!(!log.writer.append_post(post(1, &["a"], None), UnixMillis(5)).expect("lookup works"), "in the same batch");
    log.writer.append(&side).expect("append works");
    assert_eq!(
        (side.next(), log.writer.known(PostId(1)).expect("lookup works").map(|known| known.sequence)),
        (2, Some(1))
    );
    let epoch = log.reader.epoch();
    assert!(!log.writer.may_hold(UnixMillis(4)), "this process knows what was demanded");
    drop((log, side));
    let mut log = env.open();
    assert_eq!(log.reader.epoch(), epoch, "the same side log");
    let held = [4, 5].map(|created| log.writer.may_hold(UnixMillis(created)));
    assert_eq!(held, [true, false], "the demand of the process before may not be in its checkpoint");
    assert!(!log.writer.append_post(post(1, &["a"], None), UnixMillis(6)).expect("lookup works"));
    assert!(
        log.writer.append_post(post(1, &["b"], None), UnixMillis(6)).expect("lookup works"),
        "under a further rule"
    );
    let RecordBody::Delta { prior, post } = &log.writer.records[0].body else { panic!("{:?}", log.writer.records) };
    assert_eq!((prior.len(), post.rules.len()), (1, 2));
}

#[test]
fn side_log_goes_with_its_log() {
    let mut env = TestEnv::new();
    let mut log = env.open();
    env.append(3);
    log.writer.append_post(post(1, &[], Some(2)), UnixMillis(5)).expect("lookup works");
    log.writer.append(&side_of(&log)).expect("append works");
    let first = log.reader.epoch();
    drop(log);
    let log = env.open();
    assert_eq!((log.reader.epoch(), log.reader.extent().next), (first, 2));
    drop(log);
    env.main = None;
    for entry in std::fs::read_dir(env.dir.path()).expect("it is there").flatten() {
        if entry.file_name() != "side" {
            let path = entry.path();
            let gone = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            gone.expect("removable");
        }
    }
    let log = env.open();
    assert_ne!(log.reader.epoch(), first, "the log was lost, and the side log with it");
    assert_eq!(std::fs::read_dir(env.dir.path().join("side")).expect("it is there").count(), 1);
}

#[test]
fn side_log_with_lost_counterparts_is_recreated() {
    let mut env = TestEnv::new();
    let mut log = env.open();
    log.writer.append_post(post(1, &[], Some(7)), UnixMillis(5)).expect("lookup works");
    log.writer.append(&side_of(&log)).expect("append works");
    drop(log);
    assert_eq!(env.open().reader.extent().next, 1);
}

#[test]
fn staged_post_yields_to_earlier_log() {
    let mut env = TestEnv::new();
    let mut log = env.open();
    log.writer.append_post(post(1, &[], None), UnixMillis(5)).expect("lookup works");
    let rules = post(1, &["a"], None).rules;
    log.writer.set_counterpart(PostId(2), 8, &rules);
    log.writer.set_counterpart(PostId(1), 9, &rules);
    let own = log.writer.records[0].body.post().expect("a post");
    assert_eq!((own.counterpart, own.counterpart_rules.as_ref()), (Some(9), Some(&rules)));
}
