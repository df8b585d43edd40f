//! What the page shows, compared with what the gateway and its upstream did.

use powerstream_gateway::proto::SubscribeRequest;
use powerstream_gateway::simulator::{CutKind, ErrorResponse, InitialRule};
use reqwest::StatusCode;
use serde_json::Value;

use super::{gateway, list, open, request, secret, snapshot, text};
use crate::harness::{TestEnv, eventually, filters, in_time, latest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_shows_tags_sessions_and_log() {
    let mut env = TestEnv::new().await;
    let address = env.app().admin_address();
    let consumer = |name: &str| SubscribeRequest { consumer: name.into(), ..latest(&filters::any(&["cats"])) };
    let mut stream = env.ask(consumer("indexer")).await.expect("it begins");
    in_time("the first frame", stream.message()).await.expect("it begins").expect("a frame");
    env.post(&[&["cats"], &["cats", "dogs"], &["cats"]]);
    env.all_logged().await;
    let shown = snapshot(address, None).await;
    assert_eq!(shown["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(shown["unready_reasons"], Value::Array(Vec::new()));
    assert_eq!(
        (&shown["process"]["is_last_reload_good"], &shown["process"]["restart_required"][0]),
        (&true.into(), &Value::Null)
    );
    let main = open(&shown, "main");
    let tags = list(main, "tags").iter();
    let tags: Vec<_> =
        tags.map(|own| (own["tag"].as_str(), own["posts"].as_u64(), own["is_subscribed"].as_bool())).collect();
    assert_eq!(tags, [(Some("cats"), Some(3), Some(true)), (Some("dogs"), Some(1), Some(false))]);
    let session = &list(main, "sessions")[0];
    assert_eq!((&session["consumer"], &session["principal"]), (&"indexer".into(), &"".into()));
    assert!(session["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{session}");
    let journal = &main["journal"];
    assert_eq!((&journal["bound"], &journal["age_max"]), (&"age".into(), &(24 * 3_600_000).into()));
    assert!(journal["oldest"].is_i64() && journal["records"].as_u64() >= Some(3), "{journal}");
    assert_eq!((&main["unaccounted"], &main["upstream"]["state"]), (&0.into(), &"connected".into()));
    assert_eq!(main["upstream"]["timeline"][0][1], "down", "before the first connection");
    eventually("the bytes of the log are shown", async || {
        open(&snapshot(address, None).await, "main")["journal"]["bytes"].as_u64() > Some(0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outage_shows_in_timeline_and_gaps() {
    let mut env = TestEnv::new().await;
    let address = env.app().admin_address();
    env.post(&[&["cats"]]);
    env.all_logged().await;
    env.x.refuse_until_cleared(ErrorResponse::json(503, "{}"));
    assert_eq!(env.x.cut(CutKind::CleanEnd), 1);
    let mut shown = Value::Null;
    eventually("the outage is shown", async || {
        shown = snapshot(address, None).await;
        let main = open(&shown, "main");
        let gap = &main["gaps"]["list"][0];
        main["upstream"]["state"] == "backing_off" && gap["is_closed"] == false && gap["end"].is_null()
    })
    .await;
    let main = open(&shown, "main");
    let gap = &list(main, "gaps")[0];
    assert_eq!((&gap["cause"], &gap["state"]), (&"disconnected".into(), &"detected".into()));
    assert!(main["open_gaps"].as_u64() >= Some(1), "{main}");
    let phases = |main: &Value| -> Vec<String> {
        let spans = main["upstream"]["timeline"].as_array().expect("a list");
        spans.iter().map(|span| span[1].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(phases(main).last().map(String::as_str), Some("down"));
    assert!(main["upstream"]["last_error"].as_str().is_some_and(|error| !error.is_empty()), "{main}");
    env.x.clear_refusals();
    eventually("the connection is shown, with its backfill", async || {
        shown = snapshot(address, None).await;
        phases(open(&shown, "main")).ends_with(&["down".to_owned(), "connected".to_owned(), "backfill".to_owned()])
            || phases(open(&shown, "main")).ends_with(&["down".to_owned(), "backfill".to_owned()])
    })
    .await;
    assert!(list(open(&shown, "main"), "gaps")[0]["end"].is_i64(), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_decide_what_is_shown() {
    let mut env = gateway(|_| ()).await;
    env.post(&[&["cats"], &["dogs"]]);
    env.all_logged().await;
    let address = env.app().admin_address();
    let names = |shown: &Value| -> Vec<String> {
        let accounts = shown["accounts"].as_array().expect("a list");
        accounts.iter().map(|own| own["name"].as_str().expect("a name").to_owned()).collect()
    };
    let tags = |shown: &Value| -> Vec<String> {
        list(open(shown, "main"), "tags").iter().map(|own| own["tag"].as_str().expect("a tag").to_owned()).collect()
    };
    for (principal, accounts, visible) in [
        ("viewer", &["main"][..], &["cats", "dogs"][..]),
        ("viewer-of-cats", &["main"], &["cats"]),
        ("viewer-of-all", &["main", "other"], &["cats", "dogs"]),
    ] {
        let shown = snapshot(address, Some(principal)).await;
        assert_eq!(
            (names(&shown), tags(&shown)),
            (accounts.iter().map(|own| own.to_string()).collect(), visible.iter().map(|own| own.to_string()).collect()),
            "{principal}"
        );
        // They are the process's, and name the tokens of all callers.
        let credentials = shown["process"]["credentials"].as_array().map(Vec::len);
        assert_eq!(credentials, (principal == "viewer-of-all").then_some(super::PRINCIPALS.len()), "{principal}");
    }
    for path in ["/", "/status.json", "/status/events"] {
        let (status, text) = text(request(address, path).bearer_auth(secret("reader").token.token)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {text}");
        assert!(text.contains("right `status`"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_and_rules_are_not_shown() {
    let mut env = TestEnv::new().await;
    let rule = InitialRule { value: "canaryRule from:canary".into(), tag: Some("cats".into()) };
    env.x.add_rules(&[rule]).expect("a rule");
    let sent = env
        .x
        .publish(r#"{"text": "canaryPost", "matching_rules": [{"tag": "cats", "id": 712345678901}]}"#)
        .expect("a post");
    env.all_logged().await;
    env.post(&[&["cats"]]);
    let address = env.app().admin_address();
    for path in ["/", "/status.json"] {
        let (status, shown) = text(request(address, path)).await;
        assert!(status == StatusCode::OK && shown.contains("cats"), "{path}: {shown}");
        for secret in ["canaryRule", "canaryPost", "712345678901", &sent.post_id.to_string()] {
            assert!(!shown.contains(secret), "{path} shows {secret}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_without_scripts_has_tables() {
    let mut env = TestEnv::new().await;
    env.post(&[&["<img src=x onerror=alert(1)>"], &["a\u{202e}b"]]);
    env.all_logged().await;
    let (status, page) = text(request(env.app().admin_address(), "/")).await;
    assert_eq!(status, StatusCode::OK);
    let (_, rest) = page.split_once("<noscript>").expect("a part for browsers without scripts");
    let (plain, _) = rest.split_once("</noscript>").expect("its end");
    assert!(plain.contains("<td>&lt;img src=x onerror=alert(1)&gt;</td>"), "{plain}");
    assert!(plain.contains("a\\u{202e}b") && !page.contains('\u{202e}'), "{plain}");
    for caption in ["Gateway", "Account main", "Gaps", "Recovery jobs", "Tags", "Sessions", "Certificates and keys"] {
        assert!(plain.contains(&format!("<caption>{caption}</caption>")), "{caption}");
    }
}
