//! JSON Web Tokens against a gateway process and a server of keys: rotation, removal of a key, expiry, an issuer that is
//! down.

use std::time::Duration;

use powerstream_gateway::access::{Right, RoleConfig, TagsConfig};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{DrainReason, SubscribeRequest, SubscribeResponse};
use tonic::{Code, Request, Status, Streaming};

use crate::harness::env::Client;
use crate::harness::jwt::{Issuer, Key, config};
use crate::harness::process::Gateway;
use crate::harness::{TestEnv, after, end_of, eventually, filters, in_time, last_token, latest, reason};

/// A gateway that accepts tokens of this issuer: members of its group read posts with the tag `cats`.
async fn gateway(issuer: &Issuer) -> (TestEnv, Gateway) {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
    let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let tags = TagsConfig { allow: own(&["cats"]), ..TagsConfig::default() };
    let (name, accounts, rights) = ("cats".to_owned(), own(&["main"]), vec![Right::Read]);
    env.settings.roles =
        vec![RoleConfig { name, accounts, rights, tags: Some(tags), rule_sets: None, limits: Default::default() }];
    env.settings.auth.jwks.refresh_interval = Duration::from_secs(2);
    env.settings.auth.jwks.unknown_key_interval = Duration::from_secs(1);
    env.settings.auth.jwt = vec![config(issuer.keys(), "cats")];
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    (env, gateway)
}

async fn subscribe(
    client: &mut Client,
    token: &str,
    request: SubscribeRequest,
) -> Result<Streaming<SubscribeResponse>, Status> {
    let mut request = Request::new(request);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
    in_time("an answer", client.subscribe(request)).await.map(tonic::Response::into_inner)
}

/// Subscribes as soon as the gateway has the keys.
async fn subscribe_once_available(client: &mut Client, token: &str) -> Streaming<SubscribeResponse> {
    let mut stream = None;
    eventually("the gateway has the keys", async || {
        let refused = match subscribe(&mut client.clone(), token, latest(&filters::all())).await {
            Ok(begun) => return stream.replace(begun).is_none(),
            Err(refused) => refused,
        };
        assert_eq!((refused.code(), reason(&refused)), (Code::Unavailable, "AUTH_UNAVAILABLE"));
        false
    })
    .await;
    stream.expect("it began")
}

/// The tags of the next post.
async fn next_tags(stream: &mut Streaming<SubscribeResponse>) -> String {
    loop {
        let frame = in_time("a frame", stream.message()).await.expect("it continues").expect("it has no end");
        if let Some(Frame::EventBatch(batch)) = frame.frame {
            return batch.events.iter().map(|event| event.tags.join("+")).collect::<Vec<_>>().join(" ");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotated_key_continues_and_removed_key_revokes() {
    let [first, second] = [Key::new("first"), Key::new("second")];
    let issuer = Issuer::start(Some(&[&first])).await;
    let (mut env, gateway) = gateway(&issuer).await;
    let mut client = gateway.client().await;
    let mut old = subscribe_once_available(&mut client, &first.token(600)).await;
    env.post(&[&["dogs"], &["cats"]]);
    assert_eq!(next_tags(&mut old).await, "cats", "the role decides");
    let refused = subscribe(&mut client, &second.token(600), latest(&filters::all())).await.expect_err("no such key");
    assert_eq!((refused.code(), reason(&refused)), (Code::Unauthenticated, "CREDENTIALS_INVALID"));
    // The issuer signs with a new key: a token of it is accepted, and sessions of the old one continue.
    issuer.publish(Some(&[&first, &second]));
    let mut new = None;
    eventually("the new key is known", async || {
        new = subscribe(&mut client.clone(), &second.token(600), latest(&filters::all())).await.ok();
        new.is_some()
    })
    .await;
    let mut new = new.expect("it began");
    env.post(&[&["cats"]]);
    assert_eq!((next_tags(&mut old).await, next_tags(&mut new).await), ("cats".into(), "cats".into()));
    // The old key is taken away.
    issuer.publish(Some(&[&second]));
    let clock = Clock::system();
    let begun = clock.moment();
    let (_, end) = end_of(&mut old).await;
    assert!(clock.moment().since(begun) < Duration::from_secs(10), "within 10 s");
    assert_eq!((end.code(), reason(&end)), (Code::Unauthenticated, "CREDENTIALS_REVOKED"));
    let refused = subscribe(&mut client, &first.token(600), latest(&filters::all())).await.expect_err("no such key");
    assert_eq!(reason(&refused), "CREDENTIALS_INVALID");
    // The issuer is down: what is known stays in use.
    issuer.publish(None);
    eventually("the failure is logged", async || gateway.log().contains("failed to fetch key set")).await;
    env.post(&[&["cats", "more"]]);
    assert_eq!(next_tags(&mut new).await, "cats+more", "the session of the other key continues");
    let mut resumed =
        subscribe(&mut client, &second.token(600), after(last_token(&end), &filters::all())).await.expect("it resumes");
    assert_eq!(next_tags(&mut resumed).await, "cats+more");
    let log = gateway.log();
    for secret in [first.token(600), second.token(600)] {
        let payload = secret.split('.').nth(1).expect("three parts").to_owned();
        assert!(!log.contains(&payload), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_ends_its_session_when_it_expires() {
    let key = Key::new("only");
    let issuer = Issuer::start(None).await;
    let (env, gateway) = gateway(&issuer).await;
    let mut client = gateway.client().await;
    // It starts and is ready while its issuer is down.
    let refused = subscribe(&mut client, &key.token(600), latest(&filters::all())).await.expect_err("no keys");
    assert_eq!((refused.code(), reason(&refused)), (Code::Unavailable, "AUTH_UNAVAILABLE"));
    issuer.publish(Some(&[&key]));
    drop(subscribe_once_available(&mut client, &key.token(600)).await);
    // 30 s after `exp` are allowed for clocks that differ: 4 s are left.
    let mut stream = subscribe(&mut client, &key.token(-26), latest(&filters::all())).await.expect("it begins");
    let (frames, end) = end_of(&mut stream).await;
    assert_eq!((end.code(), reason(&end)), (Code::Unauthenticated, "CREDENTIALS_EXPIRED"));
    assert!(!last_token(&end).is_empty());
    let announced =
        |frame: &&Frame| matches!(frame, Frame::Draining(own) if own.reason() == DrainReason::CredentialsExpire);
    assert_eq!(frames.iter().filter(announced).count(), 1);
    let refused = subscribe(&mut client, &key.token(-31), latest(&filters::all())).await.expect_err("over");
    assert_eq!(reason(&refused), "CREDENTIALS_EXPIRED");
    drop(env);
}
