//! How sessions end: the code, the reason, the details and the token of each.

use std::time::Duration;

use powerstream_gateway::proto::{SubscribeRequest, TagFilter};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::harness::env::{account, client};
use crate::harness::ground_truth::assert_exact;
use crate::harness::proxy::Proxy;
use crate::harness::{Subscriber, TestEnv, after, earliest, eventually, filters, last_token, latest, reason};

/// Code, reason and trailer of an end; gives back its details.
fn check(status: &Status, code: Code, because: &str) -> ErrorDetails {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    let reported = (status.code(), info.reason.as_str(), info.domain.as_str());
    assert_eq!(reported, (code, because, "powerstream.gateway"), "{status:?}");
    assert_eq!(reason(status), because);
    details
}

async fn refused(env: &TestEnv, request: SubscribeRequest) -> Status {
    match env.ask(request).await {
        Err(status) => status,
        Ok(_) => panic!("it was taken"),
    }
}

/// What a token must not be: cut, flipped, random, oversized.
fn mutations(token: &str) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(2);
    let mut bad: Vec<String> = (1..token.len()).step_by(7).map(|end| token[..end].to_owned()).collect();
    for at in 0..token.len() {
        let mut bytes = token.as_bytes().to_vec();
        // Another letter of the alphabet of tokens: a bit of what is signed changes.
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        bad.push(String::from_utf8(bytes).expect("ASCII"));
    }
    for _ in 0..50 {
        let letters = (0..rng.random_range(1..200)).map(|_| char::from(rng.random_range(0x20..0x7f_u8)));
        bad.push(letters.collect());
    }
    bad.extend([
        "A".repeat(2_048),
        format!("{token}{token}"),
        format!("{token}A"),
        "猫".into(),
        "=".into(),
        "\0".into(),
    ]);
    bad
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tampered_tokens_get_same_error() {
    let mut env = TestEnv::new().await;
    let mut neighbour = env.subscribe(latest(&filters::all())).await;
    let truth = env.post_mix(10);
    neighbour.posts(10).await;
    let token = neighbour.token().to_owned();
    let mut client = env.client().await;
    let mut texts = std::collections::BTreeSet::new();
    let bad = mutations(&token);
    for token in &bad {
        let refused = client.subscribe(after(token, &filters::all())).await.expect_err("it is no token");
        check(&refused, Code::InvalidArgument, "TOKEN_INVALID");
        texts.insert(refused.message().to_owned());
    }
    assert_eq!((texts.len(), bad.len() > 150), (1, true), "{texts:?}");
    let empty = client.subscribe(after("", &filters::all())).await.expect_err("it is empty");
    let details = check(&empty, Code::InvalidArgument, "START_INVALID");
    assert_eq!(details.bad_request().expect("it names the field").field_violations[0].field, "resume_token");

    Subscriber::open(&mut client, after(&token, &filters::all())).await.expect("the token itself is good");
    let truth = [truth, env.post_mix(10)].concat();
    neighbour.posts(20).await;
    assert_exact("the neighbour", &truth, &neighbour.got);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_requests_are_rejected_with_reason() {
    let env = TestEnv::starting(
        powerstream_gateway::clock::Clock::system(),
        |_| (),
        |settings| {
            let mut other = settings.accounts[0].clone();
            other.name = powerstream_gateway::model::AccountName::new("other").expect("a name");
            settings.accounts.push(other);
            settings.hub.sessions_max = 2;
        },
    )
    .await;
    let of = |account: &str, request| SubscribeRequest { account: account.into(), ..request };
    let neighbour = env.subscribe(of("main", latest(&filters::all()))).await;

    let foreign = refused(&env, of("other", after(neighbour.token(), &filters::all()))).await;
    let details = check(&foreign, Code::FailedPrecondition, "TOKEN_ACCOUNT_MISMATCH");
    assert_eq!(details.error_info().expect("checked").metadata["account"], "main");
    let status = refused(&env, of("", latest(&filters::all()))).await;
    let details = check(&status, Code::InvalidArgument, "ACCOUNT_REQUIRED");
    assert_eq!(details.bad_request().expect("it names the field").field_violations[0].field, "account");
    for unknown in ["unknown", "Not A Name", &"x".repeat(5_000)] {
        let status = refused(&env, of(unknown, latest(&filters::all()))).await;
        let details = check(&status, Code::PermissionDenied, "ACCESS_DENIED");
        assert_eq!(details.error_info().expect("checked").metadata["accounts"], "main,other");
    }
    for (filter, field) in impossible_filters() {
        let status = refused(&env, of("main", latest(&filter))).await;
        let details = check(&status, Code::InvalidArgument, "FILTER_INVALID");
        let violated = &details.bad_request().expect("it names the field").field_violations[0].field;
        assert!(violated.starts_with(field), "{violated} for {filter:?}");
    }
    let second = env.subscribe(of("main", latest(&filters::all()))).await;
    let status = refused(&env, of("main", latest(&filters::all()))).await;
    let details = check(&status, Code::ResourceExhausted, "SESSION_LIMIT");
    assert!(details.retry_info().is_some() && details.quota_failure().is_some());
    drop(second);
    eventually("a place is free", async || env.ask(of("main", latest(&filters::all()))).await.is_ok()).await;
}

fn impossible_filters() -> Vec<(TagFilter, &'static str)> {
    let many: Vec<String> = (0..1_001).map(|n| format!("t{n}")).collect();
    vec![
        (TagFilter { any_of: many, ..filters::all() }, "filter"),
        (filters::any(&["x".repeat(1_021).as_str()]), "filter.any_of"),
        (filters::any(&[""]), "filter.any_of"),
        (filters::any_but(&["cats"], &["cat*"]), "filter"),
        (TagFilter { none_of: vec!["*".into()], ..filters::every(&["cats"]) }, "filter"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_deadline_ends_stream_with_token() {
    let mut env = TestEnv::new().await;
    let mut status = None;
    // On a busy machine the first may be over before anything is read.
    for deadline in [2, 20, 200] {
        let mut request = Request::new(latest(&filters::all()));
        request.set_timeout(Duration::from_secs(deadline));
        let Ok(answer) = env.client().await.subscribe(request).await else { continue };
        let mut stream = answer.into_inner();
        env.post_mix(3);
        let mut frames = 0;
        let end = loop {
            match crate::harness::in_time("a frame", stream.message()).await {
                Ok(Some(_)) => frames += 1,
                Ok(None) => panic!("it ended without a status"),
                Err(status) => break status,
            }
        };
        if frames > 2 {
            status = Some(end);
            break;
        }
    }
    let status = status.expect("one is read before");
    check(&status, Code::DeadlineExceeded, "STREAM_DEADLINE");
    let token = last_token(&status).to_owned();
    let missed = env.post_mix(3);
    let mut resumed = env.subscribe(after(&token, &filters::all())).await;
    resumed.posts(3).await;
    assert_exact("the resumed one", &missed, &resumed.got);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vanished_peer_is_reaped_without_matches() {
    let env = TestEnv::tuned(
        |_| (),
        |settings| {
            settings.grpc.ping_interval = Duration::from_secs(1);
            settings.grpc.ping_timeout = Duration::from_secs(1);
        },
    )
    .await;
    let proxy = Proxy::start(env.app().grpc_address()).await;
    let mut through = client(proxy.address()).await;
    let vanishing = Subscriber::open(&mut through, latest(&filters::any(&["nothing"]))).await.expect("it begins");
    let staying = env.subscribe(latest(&filters::all())).await;
    env.counts("sessions", 2.0).await;
    proxy.freeze();
    // The other one goes as well if this machine keeps it from answering for a second.
    eventually("the vanished one is gone", async || env.metric("sessions") <= 1.0).await;
    assert!(proxy.held_bytes() > 0, "the gateway did write to it");
    drop((vanishing, staying));
    eventually("all are gone", async || env.metric("sessions") == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_session_is_rotated_and_resumes() {
    let mut env = TestEnv::tuned(|_| (), |settings| settings.hub.session_age_max = Duration::from_secs(1)).await;
    let mut session = env.subscribe(latest(&filters::all())).await;
    let mut truth = env.post_mix(5);
    let status = session.ended().await;
    check(&status, Code::Unavailable, "SESSION_ROTATED");
    truth.extend(env.post_mix(5));
    let (mut got, mut token) = (session.got.clone(), session.token().to_owned());
    // As often as it takes: each session is rotated.
    while got.len() < truth.len() {
        let mut resumed = env.subscribe(after(&token, &filters::all())).await;
        resumed.read_until(|own| got.len() + own.got.len() >= truth.len()).await;
        token = resumed.token().to_owned();
        got.append(&mut resumed.got);
    }
    assert_exact("the rotated one", &truth, &got);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_account_reaches_another() {
    let mut env = TestEnv::tuned(|_| (), |_| ()).await;
    let second = env.upstreams.start(|config| config.rate = 0.0);
    env.settings.accounts.push(account("second", &second, &env.bearer_file()));
    env.restart_gateway().await;
    eventually("the second is connected too", async || second.connections().live == 1).await;
    let of = |account: &str| SubscribeRequest { account: account.into(), ..earliest(&filters::all()) };
    let (mut one, mut two) = (env.subscribe(of("main")).await, env.subscribe(of("second")).await);
    assert_ne!(one.start.epoch, two.start.epoch);
    let first_truth = env.post_mix(200);
    let second_truth: Vec<_> =
        (0..100).map(|n| second.publish(&crate::harness::posts::post(n, &["cats"])).expect("a post")).collect();
    one.posts(200).await;
    two.posts(100).await;
    // Two heartbeats: what was wrongly on its way would have come.
    let beats = |own: &Subscriber| own.heartbeats.len() >= 2;
    one.until("heartbeats", beats).await;
    two.until("heartbeats", beats).await;
    assert_exact("main", &first_truth, &one.got);
    assert_exact("second", &second_truth, &two.got);
    assert!(env.log_dir("main").is_dir() && env.log_dir("second").is_dir());
    assert_eq!((env.x.connections().live_max_ever, second.connections().live_max_ever), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_valid_while_key_is() {
    let mut env = TestEnv::new().await;
    let (old, new) = (env.dir().join("old.key"), env.dir().join("new.key"));
    std::fs::write(&old, "o".repeat(32)).expect("the directory is ours");
    std::fs::write(&new, "n".repeat(32)).expect("the directory is ours");
    let mut with_keys = async |keys: Vec<std::path::PathBuf>, token: Option<&str>| {
        env.settings.token_key_files = keys;
        env.restart_gateway().await;
        let request = token.map_or_else(|| latest(&filters::all()), |token| after(token, &filters::all()));
        Subscriber::open(&mut env.client().await, request).await.map(|session| session.token().to_owned())
    };
    let first = with_keys(vec![old.clone()], None).await.expect("it begins");
    let second = with_keys(vec![new.clone(), old.clone()], Some(&first)).await.expect("the old key verifies");
    let refused = with_keys(vec![new.clone()], Some(&first)).await.expect_err("its key is gone");
    check(&refused, Code::InvalidArgument, "TOKEN_INVALID");
    with_keys(vec![new], Some(&second)).await.expect("the first key signs");
}
