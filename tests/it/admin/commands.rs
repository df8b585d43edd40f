//! `powerstream-gateway admin` against a running gateway: tables, JSON, failures and exit codes.

use powerstream_gateway::clock::Clock;
use serde_json::Value;

use super::{configure, token};
use crate::harness::process::Gateway;
use crate::harness::{TestEnv, eventually, filters, in_time, latest, reason};
use crate::hostile::command::{Ended, gateway as command, run};

/// Runs `admin` with these arguments, as the operator with every right.
async fn admin(env: &TestEnv, gateway: &Gateway, arguments: &[&str]) -> Ended {
    let address = format!("http://{}", gateway.admin());
    let bearer = env.dir().join("operator.token").display().to_string();
    let all = [&["admin", "--addr", &address, "--bearer-file", &bearer], arguments].concat();
    run(env.dir(), command(env.dir(), &all)).await.expect("it ends")
}

async fn json(env: &TestEnv, gateway: &Gateway, arguments: &[&str]) -> Value {
    let ended = admin(env, gateway, &[arguments, &["--json"]].concat()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    serde_json::from_str(&ended.text).expect("one JSON object")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_works_from_command_line() {
    let env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    std::fs::write(env.dir().join("operator.token"), token("admin-all").token).expect("ours");
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let mut consumer = gateway.client().await;
    let request = super::with_credential("reader", latest(&filters::all()));
    let mut stream = consumer.subscribe(request).await.expect("it begins").into_inner();
    in_time("a frame", stream.message()).await.expect("it continues");

    let listed = json(&env, &gateway, &["sessions", "--order-by", "lag", "--principal", "reader"]).await;
    let own = &listed["sessions"][0];
    assert_eq!((&own["principal"], &own["account"]), (&"reader".into(), &"main".into()), "{listed}");
    let id = own["session_id"].as_str().expect("an id").to_owned();
    let table = admin(&env, &gateway, &["sessions"]).await;
    assert!(table.text.starts_with("SESSION") && table.text.contains(&id), "{}", table.text);
    let accounts = admin(&env, &gateway, &["accounts"]).await;
    assert!(accounts.text.starts_with("ACCOUNT") && accounts.text.contains("main     connected"), "{}", accounts.text);
    let identity = admin(&env, &gateway, &["whoami", "reader"]).await;
    assert!(identity.text.contains("main     read    cats news.*      news.x"), "{}", identity.text);
    let changed = admin(&env, &gateway, &["config", "hub.sessions_max"]).await;
    assert!(changed.text.contains("hub.sessions_max  20000  file"), "{}", changed.text);

    let ended = admin(&env, &gateway, &["terminate", &id, "--reason", "test", "--retry-after", "1s"]).await;
    assert!(ended.code == Some(0) && ended.text.starts_with(&format!("session {id} of consumer")), "{}", ended.text);
    let end = loop {
        if let Err(end) = in_time("the end", stream.message()).await {
            break end;
        }
    };
    assert_eq!(reason(&end), "SESSION_TERMINATED");
    let drained = json(&env, &gateway, &["drain", "--spread", "10s"]).await;
    assert_eq!(drained["sessions"], 0);
    let serving = admin(&env, &gateway, &["undrain"]).await;
    assert_eq!(serving.text, "serving again; 0 sessions are open\n");
    let filter = admin(&env, &gateway, &["log-filter", "debug", "--for", "5m"]).await;
    assert!(
        filter.text.starts_with("log filter debug until ") && filter.text.ends_with(", then info\n"),
        "{}",
        filter.text
    );
    let filter = admin(&env, &gateway, &["log-filter"]).await;
    assert_eq!(filter.text, "log filter info, as configured\n");
    let reloaded = admin(&env, &gateway, &["reload"]).await;
    assert_eq!((reloaded.code, reloaded.text.as_str()), (Some(0), "outcome  applied\n"));
    std::fs::write(env.dir().join("tokens.yaml"), "tokens: [").expect("ours");
    eventually("a fault exits with 1", async || {
        let refused = admin(&env, &gateway, &["reload"]).await;
        refused.code == Some(1) && refused.text.contains("refused, nothing changed") && refused.text.contains("fault")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_name_cause_and_remedy() {
    let env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    std::fs::write(env.dir().join("viewer.token"), token("viewer").token).expect("ours");
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    let (admin, grpc) = (format!("http://{}", gateway.admin()), format!("http://{}", gateway.grpc()));
    let viewer = ["--bearer-file", "viewer.token"];
    for (arguments, code, text) in [
        ([&["--addr", &admin][..], &["sessions"]].concat(), 4, "error: CREDENTIALS_MISSING: credentials are required"),
        ([&["--addr", &admin][..], &["sessions"]].concat(), 4, "pass a bearer token with --bearer-file"),
        ([&["--addr", &grpc], &viewer[..], &["sessions"]].concat(), 2, "AdminService is on the admin port only"),
        (
            [&["--addr", &admin], &viewer[..], &["drain"]].concat(),
            4,
            "error: ACCESS_DENIED: right admin on every account",
        ),
        (
            [&["--addr", &admin], &viewer[..], &["sessions", "--account", "x"]].concat(),
            4,
            "account \"x\" does not exist",
        ),
        ([&["--addr", "localhost:1"][..], &["whoami"]].concat(), 2, "error: invalid address \"localhost:1\""),
        (
            [&["--addr", "http://127.0.0.1:1"][..], &["whoami"]].concat(),
            1,
            "is this the admin port of a running gateway",
        ),
        ([&["--addr", &admin][..], &["drain", "--spread", "x"]].concat(), 2, "invalid value 'x' for '--spread"),
        ([&["--addr", &admin, "--bearer-file", "none"][..], &["whoami"]].concat(), 2, "cannot read none"),
    ] {
        let all = [&["admin"], &arguments[..]].concat();
        let ended = run(env.dir(), command(env.dir(), &all)).await.expect("it ends");
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.text);
        assert!(ended.text.contains(text), "{arguments:?}: {}", ended.text);
    }
}
