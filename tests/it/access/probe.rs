//! `powerstream-gateway probe` against a real gateway: what it prints and with which code it exits.

use std::process::{Command, Stdio};

use super::*;
use crate::harness::eventually;

/// Runs the command to its end. Returns its exit code and all that it printed.
async fn probe(flags: Vec<String>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_powerstream-gateway"));
    command.arg("probe").args(flags).stdin(Stdio::null());
    let run = move || command.output().expect("the binary was built");
    let output = tokio::task::spawn_blocking(run).await.expect("it ends");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// A gateway with credentials: with a good one, a bad one, none, a right for another account only; then stopped.
#[tokio::test(flavor = "multi_thread")]
async fn probe_reports_state_by_exit_code() {
    let (good, other, unknown) = (Secret::new(CATS, 1), Secret::new("none", 2), Secret::new(CATS, 3));
    let mut env = gateway(&[&good, &other]).await;
    let files = [("good", &good), ("other", &other), ("unknown", &unknown)];
    for (name, secret) in files {
        std::fs::write(env.dir().join(name), format!("{}\n", secret.token.token)).expect("ours");
    }
    let address = format!("http://{}", env.app().grpc_address());
    let dir = env.dir().to_owned();
    let flags = |more: &[&str]| {
        let own = more.iter().map(|flag| flag.replace("DIR", &dir.display().to_string()));
        let timeout =
            if more.iter().any(|flag| flag.starts_with("--timeout")) { None } else { Some("--timeout=20s".into()) };
        [format!("--addr={address}")].into_iter().chain(timeout).chain(own).collect::<Vec<_>>()
    };
    for (more, code, words) in [
        (&["--bearer-file=DIR/good"][..], 0, "ready, subscription of account main started"),
        (&["--bearer-file=DIR/good", "--account=main"], 0, "subscription of account main started"),
        (&["--health-only"], 0, ": ready"),
        (&[], 4, "CREDENTIALS_MISSING"),
        (&["--bearer-file=DIR/unknown"], 4, "CREDENTIALS_INVALID"),
        (&["--bearer-file=DIR/other"], 4, "ACCESS_DENIED"),
        (&["--cert-file=x"], 2, "--key-file"),
        (&["--timeout=soon"], 2, "--timeout"),
        // Over soon, perhaps: tried until the time is over.
        (&["--bearer-file=DIR/nowhere", "--timeout=1s"], 1, "no subscription (cannot read"),
    ] {
        let (exit, text) = probe(flags(more)).await;
        assert_eq!(exit, Some(code), "{more:?}: {text}");
        assert!(text.contains(words), "{more:?}: {words:?} is not in: {text}");
        assert!(files.iter().all(|(_, secret)| !text.contains(&secret.token.token)), "{text}");
    }
    // The sessions of probes end with them.
    eventually("no session is open", async || env.metric("powerstream_gateway_sessions") == 0.0).await;
    env.stop_gateway().await;
    let (exit, text) = probe(flags(&["--bearer-file=DIR/good"])).await;
    assert_eq!(exit, Some(1), "{text}");
    assert!(text.starts_with("error: http://127.0.0.1:"), "{text}");
}

/// Neither a port that accepts and stays silent nor an address that is none keeps a health check waiting.
#[tokio::test(flavor = "multi_thread")]
async fn probe_ends_within_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("bound");
    let (exit, text) = probe(vec![format!("--addr=http://{address}"), "--timeout=500ms".into()]).await;
    assert_eq!(exit, Some(1), "{text}");
    assert!(text.contains("within 500ms"), "{text}");
    let (exit, text) = probe(vec!["--addr=127.0.0.1:50051".into()]).await;
    assert_eq!(exit, Some(2), "{text}");
    assert!(text.contains("expected http://host:port"), "{text}");
}
