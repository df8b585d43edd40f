//! `serve` as a process: what it starts with, what it reports, and that a signal ends a start that hangs.

use powerstream_gateway::clock::Clock;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::harness::env::account;
use crate::harness::ground_truth::assert_exact;
use crate::harness::process::Gateway;
use crate::harness::{TestEnv, eventually, filters, latest};

/// With `--strict` an account whose log cannot be opened ends the start; without, the others are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_start_fails_with_any_unusable_account() {
    let mut env = TestEnv::without_gateway(Clock::system(), |x| x.live_connections_max = 2, |_| ());
    let bearer = env.dir().join("bearer of other");
    std::fs::write(&bearer, "another").expect("the directory is ours");
    env.settings.accounts.push(account("other", &env.x, &bearer));
    let dir = env.log_dir("other");
    std::fs::create_dir_all(dir.parent().expect("it has one")).expect("the directory is ours");
    std::fs::write(&dir, "a file").expect("the directory is ours");
    let mut strict = Gateway::spawn_with(&env.settings, env.dir(), &["--strict"]);
    assert_eq!(strict.exited().await.code(), Some(1), "{}", strict.log());
    assert!(!strict.log().contains("listening"), "{}", strict.log());
    assert_eq!(env.x.requests().len(), 0, "nothing connects before all are open");
    let mut tolerant = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    tolerant.terminate();
    assert_eq!(tolerant.exited().await.code(), Some(0), "{}", tolerant.log());
    std::fs::remove_file(&dir).expect("the directory is ours");
    let mut strict = Gateway::spawn_with(&env.settings, env.dir(), &["--strict"]);
    eventually("it listens", async || strict.log().contains("listening")).await;
    strict.terminate();
    assert_eq!(strict.exited().await.code(), Some(0), "{}", strict.log());
}

/// SIGTERM was not handled during the start: 37 s with a long tail. Here the start never ends, for a FIFO stands in the place
/// of a segment, and no process writes to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signal_ends_hanging_start() {
    let env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
    let mut first = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    first.terminate();
    assert_eq!(first.exited().await.code(), Some(0));
    let log = env.log_dir("main");
    let segments = || std::fs::read_dir(&log).expect("the log").flatten().map(|entry| entry.path());
    let segment = segments().find(|path| path.extension().is_some_and(|it| it == "raw")).expect("it has one");
    std::fs::remove_file(&segment).expect("the directory is ours");
    mknodat(CWD, &segment, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("the directory is ours");
    let mut hanging = Gateway::spawn(&env.settings, env.dir());
    eventually("it starts", async || hanging.log().contains("open files allowed")).await;
    hanging.terminate();
    assert_eq!(hanging.exited().await.code(), Some(0), "{}", hanging.log());
    assert!(hanging.log().contains("stopped during start"), "{}", hanging.log());
    assert!(!hanging.log().contains("listening"), "it did hang: {}", hanging.log());
}

/// A renamed account's old directory was mentioned nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directory_of_no_account_is_logged() {
    let env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
    let orphan = env.log_dir("renamed");
    std::fs::create_dir_all(&orphan).expect("the directory is ours");
    let mut gateway = Gateway::start(&env.settings, env.dir()).await;
    let log = gateway.log();
    let reported: Vec<_> =
        log.lines().filter(|line| line.contains("log directory belongs to no configured account")).collect();
    assert!(reported.len() == 1 && reported[0].contains(&orphan.display().to_string()), "{reported:?}");
    gateway.terminate();
    assert_eq!(gateway.exited().await.code(), Some(0));
}

/// A step of maintenance that fails is counted by its name and tried again; the other steps and delivery continue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_maintenance_is_counted_by_step() {
    let mut env = TestEnv::new().await;
    let mut reader = env.subscribe(latest(&filters::all())).await;
    let file = env.log_dir("main").join("gaps.json");
    let failures = |env: &TestEnv, step: &str| {
        let label = format!("step=\"{step}\"");
        let metrics = env.app().metrics();
        let own =
            |line: &&str| line.starts_with("powerstream_gateway_maintenance_failures_total") && line.contains(&label);
        let value = metrics.lines().find(own).and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        value.unwrap_or(0.0)
    };
    assert_eq!(failures(&env, "gaps"), 0.0);
    eventually("the checkpoint is written", async || file.is_file()).await;
    std::fs::remove_file(&file).expect("the directory is ours");
    // No file can take the place of a directory that is not empty.
    std::fs::create_dir_all(file.join("in the way")).expect("the directory is ours");
    eventually("it fails again and again", async || failures(&env, "gaps") >= 2.0).await;
    for other in ["journal", "ids", "jobs", "side"] {
        assert_eq!(failures(&env, other), 0.0, "{other}");
    }
    let sent = env.post_mix(20);
    reader.posts(sent.len()).await;
    assert_exact("the reader", &sent, &reader.got);
    std::fs::remove_dir_all(&file).expect("the directory is ours");
    eventually("the checkpoint is written again", async || file.is_file()).await;
}
