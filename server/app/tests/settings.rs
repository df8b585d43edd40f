//! Every number of the configuration at 0, 1 and its bounds: `load` refuses it, or the gateway delivers posts with it and
//! does not storm X.
//!
//! The keys are those of the table of ranges (`config::edges`), so that a new key is covered by itself. The settings are
//! those of an account of X itself, as `load` takes them from a file; the upstream of the histories stands in for X.

use ::oracle::{Content, From};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;

use super::plan::{Answer, End, Job, Live, Setup, Word};
use super::reader::Reader;

use super::stage::{Stage, TestDisk, seed_random};
use super::truth::{self, MINUTE, Ms, SECOND, Traffic, Want};
use super::x::X;
use crate::config::{self, Settings};
use crate::journal::Backend;
use crate::task;

/// Most requests for a live stream in any 60 s, for each connection. X publishes waits of 250 ms, 500 ms, 750 ms, … after
/// network failures, which makes 21 requests in the first minute; one more at once checks a `Date` that differs.
const LIVE_REQUESTS_PER_MINUTE_MAX: usize = 24;
/// Posts that have to be delivered, within [`DELIVERED_WITHIN`].
const POSTS: usize = 100;
const POSTS_PER_HOUR: u32 = 1_200;
const DELIVERED_WITHIN: Ms = 7 * MINUTE;
/// How long X misbehaves.
const MISBEHAVES_FOR: Ms = 45 * MINUTE;

/// What one value does.
#[derive(Debug, PartialEq)]
enum Classification {
    Refused,
    Works,
}

/// The settings of an account of X with one key set, or the faults of `load`.
fn load(dir: &Path, path: &str, value: &str) -> Result<Settings, config::ConfigErrors> {
    let bearer = dir.join("bearer");
    std::fs::write(&bearer, "bearer").expect("the directory is ours");
    let own = path.strip_prefix("accounts[].").map(|key| format!(", {key}: {value}")).unwrap_or_default();
    let entry = match path.split_once("[].") {
        Some(("roles", key)) => {
            let key = key.strip_prefix("limits.").expect("the only numbers of a role");
            format!("roles: [{{ name: r, accounts: [main], limits: {{ {key}: {value} }} }}]\n")
        }
        Some(("auth.jwt", key)) => format!(
            "auth: {{ jwt: [{{ name: j, issuer: i, audiences: [a], keys: {{ url: 'https://i' }}, {key}: {value} }}] }}\n"
        ),
        _ => String::new(),
    };
    let data = dir.join("data");
    let text = format!(
        "data_dir: {}\naccounts: [{{ name: main, bearer: {{ file: {} }}{own} }}]\n{entry}",
        data.display(),
        bearer.display()
    );
    let file = dir.join("config.yaml");
    std::fs::write(&file, text).expect("the directory is ours");
    let overrides =
        if own.is_empty() && entry.is_empty() { vec![(path.to_owned(), value.to_owned())] } else { Vec::new() };
    config::load(Some(&file), &overrides, std::iter::empty())
}

/// Answers without a stream, by the time until the request is tried again.
const REFUSALS: [Answer; 6] = [
    Answer::Page,
    Answer::Refuse(503, true),
    Answer::Refuse(401, true),
    Answer::Refuse(403, true),
    Answer::Refuse(400, false),
    Answer::Refuse(429, true),
];

/// Live connections of an X that fails in every way: `in_turns`, or one way after the other, the ones first that are tried
/// again soonest.
fn hostile_lives(in_turns: bool) -> Vec<Live> {
    let of = |answer| Live { answer, ..Live::good() };
    let ends = |after, end| Live { end: Some((after, end)), ..Live::good() };
    let kinds = [
        of(Answer::Unreachable),
        ends(40 * SECOND, End::Cut),
        ends(21 * SECOND, End::Cut),
        ends(0, End::Clean),
        ends(0, End::Reset),
        ends(SECOND, End::Half),
        ends(2 * SECOND, End::SlowReader),
        ends(2 * SECOND, End::Operational),
    ];
    let kinds: Vec<_> = kinds.into_iter().chain(REFUSALS.map(of)).collect();
    repeated(&kinds, 30, in_turns)
}

/// Recovery requests of such an X, likewise.
fn hostile_jobs(in_turns: bool) -> Vec<Job> {
    let of = |answer| Job { answer, ..Job::good() };
    let empty = |word, end| Job { sent: 0, word, end, ..Job::good() };
    let kinds = [
        empty(Word::Completed, End::Clean),
        empty(Word::None, End::Clean),
        empty(Word::None, End::Reset),
        empty(Word::Failed, End::Clean),
        empty(Word::Garbage, End::Clean),
        of(Answer::Unreachable),
    ];
    let kinds: Vec<_> = kinds.into_iter().chain(REFUSALS.map(of)).collect();
    repeated(&kinds, 200, in_turns)
}

fn repeated<T: Clone>(kinds: &[T], times: usize, in_turns: bool) -> Vec<T> {
    let kind = |n: usize| kinds[if in_turns { n % kinds.len() } else { n / times }].clone();
    (0..kinds.len() * times).map(kind).collect()
}

/// Most requests in any 60 s: for a live stream, and for recovery.
fn most_per_minute(x: &X) -> (usize, usize) {
    let most = |is_live: bool| {
        let of_kind = |state: &super::x::State| -> Vec<Ms> {
            state.connections.iter().filter(|it| it.window.is_none() == is_live).map(|it| it.opened).collect()
        };
        let times = x.look(of_kind);
        let within = |from: &Ms| times.iter().filter(|at| (*from..*from + MINUTE).contains(*at)).count();
        times.iter().map(within).max().unwrap_or(0)
    };
    (most(true), most(false))
}

async fn pass(time: Ms) {
    tokio::time::sleep(Duration::from_millis(time.unsigned_abs())).await;
}

/// Returns the ids of all posts that a subscription got.
fn delivered(seen: &super::record::Seen) -> Vec<u64> {
    let frames = seen.sessions.iter().flat_map(|session| &session.frames);
    let events = frames.filter_map(|frame| match &frame.content {
        Content::Posts { events, .. } => Some(events.iter().map(|event| event.id)),
        _ => None,
    });
    events.flatten().collect()
}

/// Plays one value. Returns the most requests of a minute, `None` if the account is not opened with it, or what is wrong.
fn play(dir: PathBuf, path: &str, settings: Settings, in_turns: bool) -> Result<Option<(usize, usize)>, String> {
    task::inline::turn_on();
    seed_random(7);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O asks nothing of the system");
    LocalSet::new().block_on(&runtime, async {
        let now: Ms = 1_800_000_000_000;
        let traffic = Traffic { seed: 7, per_hour: POSTS_PER_HOUR, late_max: 0, repeated: 0 };
        let posts = truth::posts(&traffic, now - 10 * MINUTE, now + DELIVERED_WITHIN);
        let due: Vec<u64> = posts.iter().filter(|post| post.created > now).map(|post| post.id).take(POSTS).collect();
        let x = Arc::new(X::new(now, posts, &[], &[]));
        let setup = Setup {
            files: true,
            traffic,
            host_ahead: 0,
            retention: 0,
            ring_bytes: 0,
            maintenance_interval: 5 * SECOND,
            recovery_window: 0,
            connections: settings.accounts[0].connections,
            datacenters: false,
            session_age: 0,
            request_max: 0,
        };
        let disk = Arc::new(TestDisk::default());
        let recovery_max = settings.ingest.recovery.requests_per_minute_max;
        let live_max = LIVE_REQUESTS_PER_MINUTE_MAX * usize::from(setup.connections);
        let stage = Stage { setup, x: x.clone(), dir, disk };
        let gateway = match stage.start_with(settings, 0) {
            Ok(gateway) => gateway,
            // What depends on the host is found here, and by `check`.
            Err(error) if format!("{error:#}").contains(path) => return Ok(None),
            Err(error) => return Err(format!("{error:#}")),
        };
        let mut reader = Reader::new(0, Want::default(), x.clone());
        reader.begin(&gateway.hub, From::Latest);
        for _ in 0..DELIVERED_WITHIN / SECOND {
            pass(SECOND).await;
            // Sessions are ended at their greatest age.
            if reader.is_cut_off() {
                reader.leave().await?;
                reader.resume(&gateway.hub, 0);
            }
        }
        let got = reader.look(delivered);
        let missing = due.iter().filter(|id| !got.contains(id)).count();
        x.misbehave(hostile_lives(in_turns), hostile_jobs(in_turns));
        for _ in 0..8 {
            x.end_live(x.now(), End::Cut);
        }
        pass(MISBEHAVES_FOR).await;
        let (live, recovery) = most_per_minute(&x);
        reader.leave().await?;
        gateway.kill().await?;
        if missing > 0 {
            return Err(format!("{missing} of {POSTS} posts are not delivered"));
        }
        if live > live_max || recovery > recovery_max {
            return Err(format!(
                "{live} live (max {live_max}), {recovery} recovery requests (max {recovery_max}) a minute"
            ));
        }
        Ok(Some((live, recovery)))
    })
}

/// One value: what comes of it, or what is wrong.
fn classify(path: &str, value: &str, modes: &[bool]) -> Result<(Classification, (usize, usize)), String> {
    let base = if Path::new("/dev/shm").is_dir() { Path::new("/dev/shm").to_owned() } else { std::env::temp_dir() };
    let mut most = (0, 0);
    for in_turns in modes {
        let dir = tempfile::tempdir_in(&base).map_err(|error| error.to_string())?;
        match load(dir.path(), path, value) {
            Err(faults) => {
                let own = path.replace("[]", "[0]");
                let is_clear = |fault: &config::ConfigError| !fault.text.is_empty() && !fault.path.is_empty();
                let key = path.rsplit('.').next().unwrap_or(path);
                let names_it = faults.all().iter().any(|fault| fault.path == own || fault.text.contains(key));
                return match names_it && faults.all().iter().all(is_clear) {
                    true => Ok((Classification::Refused, most)),
                    false => Err(format!("the fault does not name it: {faults}")),
                };
            }
            Ok(mut settings) => {
                // Of the others no key has to do with files, which take most of the time.
                if !["journal.", "ingest.", "hub."].iter().any(|section| path.starts_with(section)) {
                    settings.journal.backend = Backend::Memory;
                }
                let Some((live, recovery)) = play(dir.path().to_owned(), path, settings, *in_turns)? else {
                    return Ok((Classification::Refused, most));
                };
                most = (most.0.max(live), most.1.max(recovery));
            }
        }
    }
    Ok((Classification::Works, most))
}

/// What the property finds, where `load` does not stand in the way.
#[test]
fn swallowed_posts_and_storms_are_found() {
    let fault = |change: fn(&mut Settings)| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings = load(dir.path(), "hub.allowed_lateness", "30s").expect("the default");
        change(&mut settings);
        play(dir.path().to_owned(), "", settings, false).expect_err("found")
    };
    let lost = fault(|settings| settings.upstream.message_bytes_max = 16);
    assert!(lost.contains("not delivered"), "{lost}");
    for storm in [
        (|settings| settings.upstream.network_backoff_step = Duration::from_millis(1)) as fn(&mut Settings),
        |settings| settings.upstream.healthy_after = Duration::ZERO,
        |settings| settings.upstream.http_backoff_step = Duration::ZERO,
    ] {
        let fault = fault(storm);
        assert!(fault.contains("requests"), "{fault}");
    }
}

/// Settings at their bounds swallowed every post, or sent X thousands of requests a minute.
#[test]
fn number_at_bound_is_refused_or_delivers() {
    let only = std::env::var("SETTING").ok();
    let is_full = only.is_some() || std::env::var("SETTINGS").is_ok_and(|scale| scale == "full");
    let edges: Vec<_> =
        config::edges().into_iter().filter(|(path, _)| only.as_deref().is_none_or(|only| *path == only)).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let outcomes = parking_lot::Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some((path, value)) = edges.get(at) else { return };
            // Each value in one of the two ways, and in both if all is played.
            let modes = if is_full { vec![false, true] } else { vec![at.is_multiple_of(2)] };
            let classified = std::panic::catch_unwind(|| classify(path, value, &modes));
            let classified =
                classified.unwrap_or_else(|panic| Err(format!("panic: {}", super::stage::text(panic.as_ref()))));
            outcomes.lock().insert((*path, value.clone()), classified);
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let outcomes = outcomes.into_inner();
    let (mut refused, mut works, mut most, mut faults) = (0, 0, (0, 0), Vec::new());
    for ((path, value), outcome) in &outcomes {
        match outcome {
            Ok((Classification::Refused, _)) => refused += 1,
            Ok((Classification::Works, (live, recovery))) => {
                works += 1;
                most = (most.0.max(*live), most.1.max(*recovery));
            }
            Err(fault) => faults.push(format!("{path}={value}: {fault}")),
        }
    }
    println!(
        "{refused} values are refused, {works} work; most requests in a minute: {} live, {} recovery",
        most.0, most.1
    );
    assert!(faults.is_empty(), "{} values fail:\n{}", faults.len(), faults.join("\n"));
}
