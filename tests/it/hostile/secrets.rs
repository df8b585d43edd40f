//! Files of secrets that are none, that others may read, or that never end: each is an error of its own account, nothing
//! waits for it, the right one is taken as soon as it is there, and none of them is shown.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::model::AccountName;
use powerstream_gateway::proto::GetStreamRequest;
use powerstream_gateway::secret::SecretSource;
use powerstream_gateway::simulator::{CutKind, SimulatorHandle};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::command::{gateway, run};
use super::stage::Stage;
use crate::harness::TestEnv;
use crate::harness::env::{BEARER, account, client};
use crate::harness::probe::get;

/// The account whose bearer is played with.
const KEYED: &str = "keyed";
/// A bearer that X does not take.
const WRONG: &str = "AAAAwrongOneThatIsSecret";
const BACKOFF: Duration = Duration::from_millis(100);
const OUTCOME_MAX: Duration = Duration::from_secs(60);

fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::write(path, bytes).expect("the directory is ours");
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).expect("it is ours");
}

fn link(path: &Path, target: &Path) {
    symlink(target, path).expect("the directory is ours");
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("the directory is ours");
}

/// What is put in the place of a bearer, and a part of the error; without one, the account connects.
type Case = (&'static str, fn(&Path), Option<&'static str>);

const CASES: &[Case] = &[
    ("a FIFO", fifo, Some("not a regular file")),
    ("a directory", |path| std::fs::create_dir(path).expect("ours"), Some("not a regular file")),
    ("/dev/zero", |path| link(path, Path::new("/dev/zero")), Some("not a regular file")),
    ("/dev/null", |path| link(path, Path::new("/dev/null")), Some("not a regular file")),
    ("nothing", |_| (), Some("not found")),
    ("a symlink to nothing", |path| link(path, Path::new("/nowhere/bearer")), Some("not found")),
    ("a symlink to itself", |path| link(path, path), Some("failed to read secret file")),
    ("an empty file", |path| put(path, ""), Some("is empty")),
    ("empty lines", |path| put(path, "\n\n  \n"), Some("is empty")),
    ("a secret in the second line", |path| put(path, format!("\n{BEARER}\n")), Some("is empty")),
    ("no UTF-8", |path| put(path, [b'A', 0xff, 0xfe]), Some("is not text")),
    ("a control character", |path| put(path, format!("{WRONG}\x07")), Some("not allowed in an HTTP header")),
    ("NUL", |path| put(path, format!("{WRONG}\0")), Some("not allowed in an HTTP header")),
    ("a space in it", |path| put(path, format!("Bearer {WRONG}")), Some("not allowed in an HTTP header")),
    ("another tongue", |path| put(path, format!("{WRONG}密")), Some("not allowed in an HTTP header")),
    ("a field injected", |path| put(path, format!("{WRONG}\rx-evil: 1")), Some("not allowed in an HTTP header")),
    ("64 KiB and one byte", |path| put(path, "A".repeat((64 << 10) + 1)), Some("more than 65536 bytes")),
    ("64 KiB", |path| put(path, "A".repeat(64 << 10)), Some("")),
    ("a wrong one", |path| put(path, WRONG), Some("401")),
    ("the right one", |path| put(path, BEARER), None),
    ("white space around it", |path| put(path, format!("  {BEARER}\t\r\n")), None),
    ("more lines behind it", |path| put(path, format!("{BEARER}\n{WRONG}\n\0\n")), None),
    ("one that others may read", |path| exposed(path, 0o644), None),
    ("one that others may write", |path| exposed(path, 0o666), None),
    (
        "a symlink to it",
        |path| {
            put(&path.with_extension("target"), BEARER);
            link(path, &path.with_extension("target"));
        },
        None,
    ),
];

fn exposed(path: &Path, mode: u32) {
    put(path, BEARER);
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

fn remove(path: &Path) {
    let removed =
        if path.is_dir() && !path.is_symlink() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
    drop(removed);
}

async fn last_error(grpc: std::net::SocketAddr) -> String {
    let request = GetStreamRequest { account: KEYED.into() };
    let answer = client(grpc).await.get_stream(request).await.expect("it is served").into_inner();
    answer.stream.expect("the stream").upstream_last_error
}

/// The gateway reads it at its next attempt.
async fn verify(grpc: std::net::SocketAddr, x: &SimulatorHandle, error: Option<&str>) -> Result<(), String> {
    let (clock, before) = (Clock::system(), x.counters());
    x.cut(CutKind::CleanEnd);
    let mut message = String::new();
    let reached = async {
        loop {
            let counters = x.counters();
            message = last_error(grpc).await;
            let is_reached = match error {
                // Of an attempt since then, for it is not connected.
                Some(word) => x.connections().live == 0 && message.contains(word),
                None => counters.connects > before.connects && x.connections().live == 1,
            };
            if is_reached {
                return;
            }
            let _ = clock.timeout(BACKOFF / 4, std::future::pending::<()>()).await;
        }
    };
    match clock.timeout(OUTCOME_MAX, reached).await {
        Ok(()) => Ok(()),
        Err(_) => Err(format!("not {error:?}: {message:?}, {:?}", x.connections())),
    }
}

fn tune(env: &mut TestEnv, x: &SimulatorHandle, path: &Path) {
    let settings = &mut env.settings;
    let mut keyed = account(KEYED, x, path);
    keyed.bearer = SecretSource::File(path.into());
    settings.accounts.push(keyed);
    let upstream = &mut settings.upstream;
    (upstream.http_backoff_step, upstream.http_backoff_max) = (BACKOFF, BACKOFF);
    (upstream.network_backoff_step, upstream.network_backoff_max) = (BACKOFF, BACKOFF);
    (upstream.rate_limit_backoff_step, upstream.rate_limit_backoff_max) = (BACKOFF, BACKOFF);
    settings.ingest.recovery.enabled = false;
    settings.telemetry.log_filter = "debug".into();
}

/// Commands that read secrets: key files of `serve`, and warnings of `check`.
async fn commands(stage: &mut Stage, path: &Path) {
    let dir = stage.env.dir().join("commands");
    std::fs::create_dir(&dir).expect("the directory is ours");
    let mut settings = stage.env.settings.clone();
    (settings.data_dir, settings.token_key_files) = (dir.join("data"), vec![path.to_owned()]);
    settings.accounts.truncate(1);
    for (name, make, message) in [
        ("a FIFO", fifo as fn(&Path), "not a regular file"),
        ("a directory", |path| std::fs::create_dir(path).expect("ours"), "not a regular file"),
        ("/dev/zero", |path| link(path, Path::new("/dev/zero")), "not a regular file"),
        ("nothing", |_| (), "failed to load token key file"),
        ("31 bytes", |path| put(path, "k".repeat(31)), "fewer than 32 bytes"),
        ("70 KB", |path| put(path, "k".repeat(70_000)), "more than 65536 bytes"),
    ] {
        remove(path);
        make(path);
        std::fs::write(dir.join("case.yaml"), settings.render()).expect("the directory is ours");
        let attack = async {
            run(&dir, gateway(&dir, &["serve", "--config", "case.yaml"])).await?.verify(1, message, &[BEARER])?;
            run(&dir, gateway(&dir, &["check", "--config", "case.yaml"])).await?.verify(0, message, &[BEARER])
        };
        stage.play(&format!("a token key that is {name}"), attack).await;
    }
    settings.token_key_files.clear();
    let second = dir.join("second");
    let mut other = settings.accounts[0].clone();
    (other.name, other.bearer) = (AccountName::new("other").expect("a name"), SecretSource::File(second.clone()));
    settings.accounts.push(other);
    put(&second, format!("{BEARER}\r\n"));
    std::fs::write(dir.join("case.yaml"), settings.render()).expect("the directory is ours");
    let message = "has the same token in it";
    let attack = async {
        for command in ["serve", "check"] {
            run(&dir, gateway(&dir, &[command, "--config", "case.yaml"])).await?.verify(2, message, &[BEARER])?;
        }
        Ok(())
    };
    stage.play("one bearer in two files", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusable_secrets_cost_only_their_account() {
    let mut path = PathBuf::new();
    let mut keyed = None;
    let mut stage = Stage::open(|env| {
        let x = env.upstreams.start(|_| ());
        path = env.dir().join("keyed-bearer");
        tune(env, &x, &path);
        keyed = Some(x);
    })
    .await;
    let (x, grpc) = (keyed.expect("it was started"), stage.grpc());
    for (name, make, error) in CASES {
        remove(&path);
        make(&path);
        stage.play(name, verify(grpc, &x, *error)).await;
    }
    let log = stage.gateway.log();
    for message in ["is readable by every user", "is writable by others"] {
        let logged = if log.contains(message) { Ok(()) } else { Err("it is not logged".into()) };
        stage.play(message, async { logged }).await;
    }
    commands(&mut stage, &path).await;
    let metrics = get(stage.admin(), "/metrics").await.1;
    for secret in [BEARER, WRONG, "AAAAAAAAAAAAAAAA"] {
        let hidden = if log.contains(secret) || metrics.contains(secret) { Err("it is shown".into()) } else { Ok(()) };
        stage.play(secret, async { hidden }).await;
    }
    stage.end("secrets", 35).await;
}
