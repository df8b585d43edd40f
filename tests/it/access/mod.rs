//! Credentials, rights, and running streams that lose theirs: what each principal of a gateway gets, and does not get.

mod certificates;
mod jwt;
mod limits;
mod probe;
mod revocation;
mod rotation;
mod running;

use powerstream_gateway::access::{PrincipalConfig, Right, RoleConfig, RoleLimits, TagsConfig};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::model::UnixMillis;
use powerstream_gateway::proto::recovery_service_client::RecoveryServiceClient;
use powerstream_gateway::proto::resolve_position_request::Target;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{
    CreateRecoveryJobRequest, GetStreamRequest, ListGapsRequest, ListStreamsRequest, ListTagsRequest,
    ResolvePositionRequest, SubscribeRequest, SubscribeResponse, TagFilter, TimeInterval, WarningCode,
};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::env::{Client, account};
use crate::harness::tokens::{Secret, bearing, tokens_file, write_tokens};
use crate::harness::{TestEnv, after, earliest, filters, in_time, latest, reason};

/// The principals of these tests: their name, and what their role on `main` allows and denies.
const CATS: &str = "cats";
const ALL: &str = "all";
const NEWS: &str = "news";

fn role(name: &str, rights: &[Right], allow: &[&str], deny: &[&str]) -> RoleConfig {
    let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let tags = (allow != ["*"]).then(|| TagsConfig { allow: own(allow), deny: own(deny), untagged: false });
    RoleConfig {
        name: name.into(),
        accounts: own(&["main"]),
        rights: rights.to_vec(),
        tags,
        rule_sets: None,
        limits: RoleLimits::default(),
    }
}

fn configure(settings: &mut Settings) {
    let dir = settings.data_dir.parent().expect("below the directory of the test").to_owned();
    settings.auth.token_files = vec![tokens_file(&dir)];
    settings.reload.interval = std::time::Duration::from_secs(1);
    settings.roles = vec![
        role(ALL, &[Right::Read, Right::Recover, Right::Status], &["*"], &[]),
        role(CATS, &[Right::Read], &["cats"], &[]),
        role(NEWS, &[Right::Read], &["news.*"], &["news.internal"]),
        RoleConfig { accounts: vec!["elsewhere".into()], ..role("none", &[Right::Read], &["*"], &[]) },
    ];
    let own = |name: &str| PrincipalConfig { name: name.into(), roles: vec![name.into()] };
    settings.principals = [ALL, CATS, NEWS, "none"].map(own).into();
}

/// A gateway with the principals, and a second account that only `none` may read by name, and does not exist.
async fn gateway(secrets: &[&Secret]) -> TestEnv {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    write_tokens(env.dir(), secrets);
    env.start_gateway().await;
    env.connected().await;
    env
}

async fn subscribe(
    client: &mut Client,
    secret: &Secret,
    request: SubscribeRequest,
) -> Result<Streaming<SubscribeResponse>, Status> {
    in_time("an answer", client.subscribe(secret.on(request))).await.map(tonic::Response::into_inner)
}

/// The tags of the posts that a stream delivers until it has so many.
async fn tags_of(stream: &mut Streaming<SubscribeResponse>, count: usize) -> Vec<String> {
    let mut tags = Vec::new();
    while tags.len() < count {
        let frame = in_time("a frame", stream.message()).await.expect("it continues").expect("it has no end");
        if let Some(Frame::EventBatch(batch)) = frame.frame {
            tags.extend(batch.events.iter().map(|event| event.tags.join("+")));
        }
    }
    tags
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn principals_get_what_they_may_see() {
    let [all, cats, news] = [Secret::new(ALL, 1), Secret::new(CATS, 2), Secret::new(NEWS, 3)];
    let mut env = gateway(&[&all, &cats, &news]).await;
    let mut client = env.client().await;
    let mut live = Vec::new();
    for secret in [&all, &cats, &news] {
        live.push(subscribe(&mut client, secret, latest(&filters::all())).await.expect("it begins"));
    }
    env.post(&[&["cats"], &["news.a"], &["news.a", "news.internal"], &["cats", "secret"], &[], &["news.b"], &["cats"]]);
    env.all_logged().await;
    let expected: [&[&str]; 3] = [
        &["cats", "news.a", "news.a+news.internal", "cats+secret", "", "news.b", "cats"],
        &["cats", "cats+secret", "cats"],
        &["news.a", "news.b"],
    ];
    for ((secret, live), expected) in [&all, &cats, &news].into_iter().zip(&mut live).zip(expected) {
        let mut replay = subscribe(&mut client, secret, earliest(&filters::all())).await.expect("it begins");
        for stream in [live, &mut replay] {
            assert_eq!(tags_of(stream, expected.len()).await, expected, "{}", secret.principal);
        }
    }
    // Nothing follows what was expected: the next post of each is this one.
    env.post(&[&["news.z", "cats"]]);
    for stream in &mut live {
        assert_eq!(tags_of(stream, 1).await, ["news.z+cats"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_beyond_right_are_refused_or_narrowed() {
    let [cats, news] = [Secret::new(CATS, 2), Secret::new(NEWS, 3)];
    let env = gateway(&[&cats, &news]).await;
    let mut client = env.client().await;
    for (secret, filter, expected) in [
        (&cats, filters::any(&["dogs"]), "TAG_DENIED"),
        (&cats, filters::any(&["cats", "unknown.tag"]), "TAG_DENIED"),
        (&cats, filters::any(&["dogs*"]), "TAG_DENIED"),
        (&news, filters::any(&["news.internal"]), "TAG_DENIED"),
        (&news, filters::every(&["news.a", "cats"]), "TAG_DENIED"),
    ] {
        let refused = subscribe(&mut client, secret, latest(&filter)).await.expect_err("refused");
        assert_eq!((refused.code(), reason(&refused)), (Code::PermissionDenied, expected), "{filter:?}");
    }
    for (secret, filter, is_narrowed) in [
        (&cats, filters::any(&["*"]), true),
        (&cats, filters::any(&["cats"]), false),
        (&cats, filters::all(), false),
        (&cats, filters::any_but(&["cats"], &["dogs"]), false),
        (&cats, filters::rules(&[1]), true),
        (&news, filters::any(&["news.*"]), true),
        (&news, filters::any(&["news.a*"]), false),
    ] {
        let mut stream = subscribe(&mut client, secret, latest(&filter)).await.expect("it begins");
        let first = in_time("the first frame", stream.message()).await.expect("it continues").expect("a frame").frame;
        let Some(Frame::SessionStart(start)) = first else { panic!("{first:?}") };
        let codes: Vec<_> = start.warnings.iter().map(powerstream_gateway::proto::Warning::code).collect();
        assert_eq!(codes.contains(&WarningCode::FilterNarrowed), is_narrowed, "{filter:?}: {codes:?}");
    }
}

/// What a principal may not see answers as what does not exist: code, reason, text and details.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invisible_and_absent_are_alike() {
    let [all, cats, none] = [Secret::new(ALL, 1), Secret::new(CATS, 2), Secret::new("none", 4)];
    let mut env = gateway(&[&all, &cats, &none]).await;
    let mut client = env.client().await;
    let posts = env.post(&[&["cats"], &["secret"]]);
    env.all_logged().await;
    let shown = |status: &Status, hidden: &str| {
        let text = format!("{:?} {} {:?}", status.code(), status.message(), status.metadata());
        (text.replace(hidden, "X"), status.details().len())
    };
    let (secret, absent) = (posts[1].post_id.0, posts[1].post_id.0 + 1);
    let resolve = |post: u64| ResolvePositionRequest { account: String::new(), target: Some(Target::PostId(post)) };
    client.resolve_position(cats.on(resolve(posts[0].post_id.0))).await.expect("visible");
    client.resolve_position(all.on(resolve(secret))).await.expect("visible to this one");
    let mut answers = Vec::new();
    for post in [secret, absent] {
        let refused = client.resolve_position(cats.on(resolve(post))).await.expect_err("not found");
        answers.push(shown(&refused, &post.to_string()));
    }
    assert_eq!(answers[0], answers[1]);
    // An account that exists and may not be read, and one that does not exist.
    let mut recovery = RecoveryServiceClient::new(channel(&env).await);
    let mut health = HealthClient::new(channel(&env).await);
    let mut answers = Vec::new();
    for name in ["main", "nain"] {
        let mut own = Vec::new();
        let request = SubscribeRequest { account: name.into(), ..latest(&filters::all()) };
        own.push(subscribe(&mut client, &none, request).await.expect_err("refused"));
        let request = GetStreamRequest { account: name.into() };
        own.push(client.get_stream(none.on(request)).await.expect_err("refused"));
        let request = ListTagsRequest { account: name.into(), ..ListTagsRequest::default() };
        own.push(client.list_tags(none.on(request)).await.expect_err("refused"));
        let request = ListGapsRequest { account: name.into(), ..ListGapsRequest::default() };
        own.push(recovery.list_gaps(none.on(request)).await.expect_err("refused"));
        let request = HealthCheckRequest { service: name.into() };
        own.push(health.check(none.on(request.clone())).await.expect_err("refused"));
        own.push(health.check(bearing(None, request)).await.expect_err("refused"));
        answers.push(own.iter().map(|status| shown(status, name)).collect::<Vec<_>>());
    }
    assert_eq!(answers[0], answers[1]);
    let streams = client.list_streams(none.on(ListStreamsRequest::default())).await.expect("a list").into_inner();
    assert_eq!(streams.streams.len(), 0);
    // Lists have what is visible.
    let tags = client.list_tags(cats.on(ListTagsRequest::default())).await.expect("a list").into_inner().tags;
    assert_eq!(tags.iter().map(|own| own.tag.as_str()).collect::<Vec<_>>(), ["cats"]);
    let tags = client.list_tags(all.on(ListTagsRequest::default())).await.expect("a list").into_inner().tags;
    assert_eq!(tags.iter().map(|own| own.tag.as_str()).collect::<Vec<_>>(), ["cats", "secret"]);
    let interval = Some(TimeInterval { start_time: Some(time(1)), end_time: Some(time(2)) });
    let request = CreateRecoveryJobRequest { account: String::new(), interval };
    let refused = recovery.create_recovery_job(cats.on(request)).await.expect_err("no right");
    assert_eq!((refused.code(), reason(&refused)), (Code::PermissionDenied, "ACCESS_DENIED"));
    assert!(refused.message().contains("right recover"), "{refused:?}");
}

fn time(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

async fn channel(env: &TestEnv) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", env.app().grpc_address())).expect("a URL");
    in_time("a connection", endpoint.connect()).await.expect("it listens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_without_valid_credential_are_refused() {
    let mut old = Secret::new(CATS, 9);
    old.not_after = Some(UnixMillis(1_577_836_800_000));
    let all = Secret::new(ALL, 1);
    let env = gateway(&[&all, &old]).await;
    let mut client = env.client().await;
    let swapped = format!("{}x", &all.token.token[..all.token.token.len() - 1]);
    for (token, expected) in [
        (None, "CREDENTIALS_MISSING"),
        (Some("psg_"), "CREDENTIALS_INVALID"),
        (Some(swapped.as_str()), "CREDENTIALS_INVALID"),
        (Some(all.token.sha256.as_str()), "CREDENTIALS_INVALID"),
        (Some(old.token.token.as_str()), "CREDENTIALS_EXPIRED"),
    ] {
        let refused = client.subscribe(bearing(token, latest(&filters::all()))).await.expect_err("refused");
        assert_eq!((refused.code(), reason(&refused)), (Code::Unauthenticated, expected), "{token:?}");
        let refused = client.list_streams(bearing(token, ListStreamsRequest::default())).await.expect_err("refused");
        assert_eq!(reason(&refused), expected, "{token:?}");
    }
    // Probes need none; one that they offer must be good.
    let mut health = HealthClient::new(channel(&env).await);
    let request = || HealthCheckRequest { service: String::new() };
    health.check(bearing(None, request())).await.expect("serving");
    let refused = health.check(bearing(Some("psg_"), request())).await.expect_err("refused");
    assert_eq!(reason(&refused), "CREDENTIALS_INVALID");
}

/// A resume token carries no right: another principal continues at its position with what that one may see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_of_other_principal_is_position() {
    let [all, cats, none] = [Secret::new(ALL, 1), Secret::new(CATS, 2), Secret::new("none", 4)];
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    write_tokens(env.dir(), &[&all, &cats, &none]);
    // `none` may read an account of its own.
    let other = env.upstreams.start(|_| ());
    let bearer = env.bearer_file();
    env.settings.accounts.push(account("elsewhere", &other, &bearer));
    env.start_gateway().await;
    env.connected().await;
    let mut client = env.client().await;
    let asking = |request: SubscribeRequest| SubscribeRequest { account: "main".into(), ..request };
    let mut wide = subscribe(&mut client, &all, asking(latest(&filters::all()))).await.expect("it begins");
    env.post(&[&["secret"]]);
    let mut token = String::new();
    while !token_after_post(&mut wide, &mut token).await {}
    env.post(&[&["secret"], &["cats"]]);
    let mut resumed =
        subscribe(&mut client, &cats, asking(after(&token, &TagFilter::default()))).await.expect("it resumes");
    assert_eq!(tags_of(&mut resumed, 1).await, ["cats"]);
    let request = SubscribeRequest { account: "elsewhere".into(), ..after(&token, &filters::all()) };
    let refused = subscribe(&mut client, &none, request).await.expect_err("of another account");
    assert_eq!((refused.code(), reason(&refused)), (Code::PermissionDenied, "ACCESS_DENIED"));
    assert!(!refused.message().contains("main"), "the account is not named: {refused:?}");
}

/// Reads a frame; true once a post was read, with the token of that frame.
async fn token_after_post(stream: &mut Streaming<SubscribeResponse>, token: &mut String) -> bool {
    let frame = in_time("a frame", stream.message()).await.expect("it continues").expect("it has no end");
    token.clone_from(&frame.resume_token);
    matches!(frame.frame, Some(Frame::EventBatch(_)))
}
