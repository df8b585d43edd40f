//! JSON Web Tokens against a gateway process and a server of keys: rotation, removal of a key, expiry, an issuer that is
//! down.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use powerstream_gateway::access::jwt::{JwtAlgorithm, JwtConfig, JwtKeysConfig, JwtRoleConfig};
use powerstream_gateway::access::{Right, RoleConfig, TagsConfig};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{DrainReason, SubscribeRequest, SubscribeResponse};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::{Code, Request, Status, Streaming};

use super::end_of;
use crate::harness::env::Client;
use crate::harness::process::Gateway;
use crate::harness::{TestEnv, after, eventually, filters, in_time, last_token, latest, reason};

const ISSUER: &str = "https://login.example/";

/// A key of the issuer.
struct Key {
    kid: &'static str,
    pair: Ed25519KeyPair,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        Self { kid, pair: Ed25519KeyPair::generate().expect("random") }
    }

    fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": encoded(self.pair.public_key()) })
    }

    /// A token of a member of the team `cats`, which ends after so many seconds.
    fn token(&self, seconds: i64) -> String {
        let now = Clock::system().system_now().0 / 1_000;
        let header = json!({ "alg": "EdDSA", "kid": self.kid }).to_string();
        let claims = json!({
            "iss": ISSUER, "aud": ["powerstream-gateway"], "sub": "alice", "groups": ["cats-team"],
            "iat": now - 60, "exp": now + seconds,
        });
        let message = format!("{}.{}", encoded(header), encoded(claims.to_string()));
        format!("{message}.{}", encoded(self.pair.sign(message.as_bytes())))
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The issuer's server: the keys that it has, or none, and it fails.
struct Issuer {
    url: String,
    keys: Arc<Mutex<Option<Value>>>,
}

impl Issuer {
    async fn start(keys: Option<&[&Key]>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}/jwks", listener.local_addr().expect("it is bound"));
        let own = Self { url, keys: Arc::default() };
        own.publish(keys);
        let published = own.keys.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = [0; 4_096];
                let _ = socket.read(&mut head).await;
                let (status, body) = match &*published.lock() {
                    Some(keys) => (200, json!({ "keys": keys }).to_string()),
                    None => (503, String::new()),
                };
                let head =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        own
    }

    fn publish(&self, keys: Option<&[&Key]>) {
        *self.keys.lock() = keys.map(|keys| keys.iter().map(|key| key.jwk()).collect());
    }

    /// A gateway that accepts tokens of this issuer: members of `cats-team` read posts with the tag `cats`.
    async fn gateway(&self) -> (TestEnv, Gateway) {
        let mut env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
        let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let tags = TagsConfig { allow: own(&["cats"]), ..TagsConfig::default() };
        let (name, accounts, rights) = ("cats".to_owned(), own(&["main"]), vec![Right::Read]);
        env.settings.roles = vec![RoleConfig { name, accounts, rights, tags: Some(tags), limits: Default::default() }];
        let url = Some(self.url.parse().expect("a URL"));
        env.settings.auth.jwks.refresh_interval = Duration::from_secs(2);
        env.settings.auth.jwks.unknown_key_interval = Duration::from_secs(1);
        let (claim, value, role) = ("groups".into(), "cats-team".into(), "cats".into());
        env.settings.auth.jwt = vec![JwtConfig {
            name: "corp".into(),
            issuer: ISSUER.into(),
            audiences: own(&["powerstream-gateway"]),
            algorithms: vec![JwtAlgorithm::EdDSA],
            keys: JwtKeysConfig { url, ..JwtKeysConfig::default() },
            lifetime_max: Duration::from_secs(3_600),
            roles: vec![JwtRoleConfig { claim, value, role }],
            default_roles: Vec::new(),
            tags_claim: None,
        }];
        let gateway = Gateway::start(&env.settings, env.dir()).await;
        env.connected().await;
        (env, gateway)
    }
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
    let (mut env, gateway) = issuer.gateway().await;
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
    let (env, gateway) = issuer.gateway().await;
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
