//! `demo`: it ends with 0 only if its consumers received every post once.

use std::process::Command;

use crate::quorum::servers::nats_server;

/// Plays the demo with these flags, and returns what it reports.
fn play(flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_powerstream-gateway"));
    let played = command.arg("demo").args(flags).output().expect("the binary was built");
    let report = String::from_utf8(played.stderr).expect("it is UTF-8");
    assert!(played.status.success(), "{}\n{report}", played.status);
    report
}

/// Compares the summary of each consumer with what X sent.
fn verify(report: &str) {
    let (_, summary) = report.split_once("Summary:\n").expect("it has a summary");
    for tag in ["cats", "dogs"] {
        let line = summary.lines().find_map(|line| line.trim().strip_prefix(&format!("{tag}: sent ")));
        let (sent, rest) = line.expect("each consumer is reported").split_once(',').expect("a list");
        assert!(sent.parse::<u64>().is_ok_and(|sent| sent >= 5), "{summary}");
        assert_eq!(rest, format!(" received {sent}, repeated 0, not requested 0"));
    }
}

fn count(report: &str, words: &str) -> usize {
    report.matches(words).count()
}

#[test]
fn demo_loses_and_repeats_nothing() {
    let ports = ["--simulator", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let report = play(&[&ports[..], &["--seconds", "5"]].concat());
    assert_eq!(count(&report, "\n   Resumed with that token: missed "), 1, "{report}");
    assert_eq!(count(&report, "backfill recovered all of them"), 1, "{report}");
    verify(&report);
}

#[test]
fn demo_of_replicas_survives_loss_of_leader() {
    let Some(server) = nats_server() else { return };
    let server = server.to_str().expect("a path in UTF-8");
    let report = play(&["--replicas", "3", "--nats-server", server, "--simulator", "127.0.0.1:0", "--seconds", "5"]);
    let (_, killed) = report.split_once(" is killed.").expect("the leader is killed");
    let (_, next) = killed.split_once(" reads X after ").expect("another one reads X");
    assert!(next.contains("follows, and the consumer of cats is back"), "{report}");
    verify(&report);
}

#[test]
fn demo_of_replicas_names_missing_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("nats-server");
    let mut command = Command::new(env!("CARGO_BIN_EXE_powerstream-gateway"));
    let flags = ["demo", "--simulator", "127.0.0.1:0", "--replicas", "3", "--nats-server"];
    let ended = command.args(flags).arg(missing).output().expect("the binary was built");
    let error = String::from_utf8(ended.stderr).expect("it is UTF-8");
    assert_eq!(ended.status.code(), Some(1), "{error}");
    assert!(error.contains("--replicas needs nats-server 2.12 or later"), "{error}");
}
