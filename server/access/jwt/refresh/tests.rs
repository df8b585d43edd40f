use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use http::HeaderMap;
use serde_json::Value;

use super::*;
use crate::access::jwt::testing::{ATTACKER, KeyServer, OWN, Reply, Signer, claims_at, issuer, key_set, samples};
use crate::access::jwt::{JwksConfig, JwtKeysConfig};
use crate::access::{Access, AccessConfig, AccessEnd, AuthConfig, AuthError, LimitMetrics, Right, RoleConfig};
use crate::model::{AccountName, UnixMillis};
use crate::task;

const HOUR: Duration = Duration::from_secs(3_600);
const TICK: Duration = Duration::from_millis(20);

/// A control with one issuer whose keys are fetched, and the task that fetches them.
struct Env {
    control: Arc<AccessControl>,
    registry: Registry,
    clock: Clock,
    changes: Arc<AtomicUsize>,
    shutdown: Shutdown,
}

impl Drop for Env {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn config(keys: JwtKeysConfig, jwks: JwksConfig) -> AccessConfig {
    let mut own = issuer(keys);
    own.default_roles = vec!["all".into()];
    let (accounts, rights) = (vec!["main".into()], vec![Right::Read]);
    AccessConfig {
        auth: AuthConfig { jwt: vec![own], jwks, ..AuthConfig::default() },
        roles: vec![RoleConfig {
            name: "all".into(),
            accounts,
            rights,
            tags: None,
            rule_sets: None,
            limits: Default::default(),
        }],
        ..AccessConfig::default()
    }
}

impl Env {
    fn start(keys: JwtKeysConfig, refresh_interval: Duration, unknown_key_interval: Duration) -> Self {
        let fetch_timeout = Duration::from_secs(5);
        let jwks = JwksConfig { refresh_interval, unknown_key_interval, fetch_timeout, ..JwksConfig::default() };
        let access = Access::load(&config(keys, jwks)).expect("good");
        let (clock, registry, changes) = (Clock::system(), Registry::new(UnixMillis(0)), Arc::default());
        let control = Arc::new(AccessControl::new(access, clock.clone(), LimitMetrics::default()));
        let counted: Arc<AtomicUsize> = Arc::clone(&changes);
        let refresher = KeyRefresher::new(control.clone(), clock.clone(), &registry, move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let shutdown = Shutdown::new();
        task::detached(refresher.run(shutdown.clone()));
        Self { control, registry, clock, changes, shutdown }
    }

    fn cache(&self) -> Arc<KeyCache> {
        self.control.current().issuers().caches().next().expect("one issuer").clone()
    }

    /// Waits until so many fetches have ended.
    async fn fetched(&self, count: u64) {
        let mut fetches = self.cache().fetches();
        let waiting = fetches.wait_for(|ended| *ended >= count);
        self.clock.timeout(Duration::from_secs(60), waiting).await.expect("in time").expect("the cache exists");
    }

    /// Waits until two more fetches have ended: the second one began after this call.
    async fn fetched_again(&self) {
        let ended = *self.cache().fetches().borrow();
        self.fetched(ended + 2).await;
    }

    fn headers(&self, signer: &Signer, kid: &str) -> HeaderMap {
        let token = signer.token(kid, &claims_at(self.clock.system_now().0 / 1_000));
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        headers
    }

    async fn call(&self, signer: &Signer, kid: impl AsRef<str>) -> Option<AuthError> {
        self.control.authenticate_call(&self.headers(signer, kid.as_ref()), None).await.err()
    }

    fn fetches(&self, outcome: &str) -> u64 {
        let samples = samples(&self.registry.encode(), "powerstream_gateway_jwks_fetches_total");
        samples[&format!("{{issuer=\"corp\",outcome=\"{outcome}\"}}")]
    }
}

fn body(keys: &[Value]) -> Reply {
    Reply::Body(key_set(keys))
}

/// What an issuer's server can do wrong, on the first fetch and on a later one.
fn failures(elsewhere: &KeyServer) -> Vec<(Reply, &'static str)> {
    let forged = key_set(&[ATTACKER.ed.jwk("ed")]);
    vec![
        (Reply::Status(500, forged.clone()), "status"),
        (Reply::Status(404, String::new()), "status"),
        (Reply::Status(206, forged), "status"),
        (Reply::Redirect(format!("http://{}/jwks", elsewhere.address)), "status"),
        (Reply::Body("<html><body>log in</body></html>".into()), "malformed"),
        (Reply::Body(String::new()), "malformed"),
        (Reply::Long((1 << 20) + 1), "too_long"),
        (Reply::Long(1 << 20), "malformed"),
        (Reply::Silence, "timeout"),
        (Reply::Close, "request"),
    ]
}

#[tokio::test]
async fn failed_fetch_keeps_last_good_set() {
    let elsewhere = KeyServer::start(body(&[ATTACKER.ed.jwk("ed")])).await;
    let server = KeyServer::start(body(&[OWN.ed.jwk("ed")])).await;
    let env = Env::start(server.keys(), TICK, TICK);
    env.fetched(1).await;
    for (reply, outcome) in failures(&elsewhere) {
        assert_eq!(env.call(&OWN.ed, "ed").await, None, "before {outcome}");
        let before = env.fetches(outcome);
        server.reply(reply.clone());
        env.fetched_again().await;
        assert!(env.fetches(outcome) > before, "{outcome}: {}", env.registry.encode());
        assert_eq!(env.call(&OWN.ed, "ed").await, None, "{outcome}");
        assert_eq!(env.call(&ATTACKER.ed, "ed").await, Some(AuthError::Invalid), "{outcome}");
        assert_eq!(env.call(&OWN.ec, "new").await, Some(AuthError::Unavailable), "{outcome}: not known");
        server.reply(body(&[OWN.ed.jwk("ed")]));
        env.fetched_again().await;
    }
    assert_eq!(elsewhere.requests().len(), 0, "redirects are not followed");
    assert_eq!(env.changes.load(Ordering::Relaxed), 1, "the first set is the only change");
}

#[tokio::test]
async fn calls_before_first_set_are_unavailable() {
    let elsewhere = KeyServer::start(body(&[ATTACKER.ed.jwk("ed")])).await;
    for (reply, outcome) in failures(&elsewhere) {
        let server = KeyServer::start(reply).await;
        let env = Env::start(server.keys(), TICK, TICK);
        assert_eq!(env.call(&OWN.ed, "ed").await, Some(AuthError::Unavailable), "{outcome}");
        env.fetched(1).await;
        assert_eq!(env.call(&OWN.ed, "ed").await, Some(AuthError::Unavailable), "{outcome}");
        assert!(env.fetches(outcome) > 0, "{outcome}");
        server.reply(body(&[OWN.ed.jwk("ed")]));
        env.fetched_again().await;
        assert_eq!(env.call(&OWN.ed, "ed").await, None, "{outcome}");
    }
    // No server listens.
    let url = Some("http://127.0.0.1:1/jwks".parse().expect("a URL"));
    let env = Env::start(JwtKeysConfig { url, ..JwtKeysConfig::default() }, TICK, TICK);
    env.fetched(1).await;
    assert_eq!(env.call(&OWN.ed, "ed").await, Some(AuthError::Unavailable));
    assert!(env.fetches("request") > 0);
}

#[tokio::test]
async fn unknown_keys_cause_one_fetch() {
    let server = KeyServer::start(body(&[OWN.ed.jwk("ed")])).await;
    let env = Env::start(server.keys(), HOUR, HOUR);
    env.fetched(1).await;
    let answers = join_all((0..10_000).map(|number| env.call(&ATTACKER.ed, format!("unknown-{number}")))).await;
    assert!(answers.iter().all(|answer| *answer == Some(AuthError::KeyUnknown)), "{:?}", answers[0]);
    assert_eq!(server.requests().len(), 1, "the first fetch is recent");
    // Where a fetch is allowed, all of them share it.
    let env = Env::start(server.keys(), HOUR, Duration::ZERO);
    env.fetched(1).await;
    let answers = join_all((0..10_000).map(|number| env.call(&ATTACKER.ed, format!("unknown-{number}")))).await;
    assert!(answers.iter().all(|answer| *answer == Some(AuthError::KeyUnknown)), "{:?}", answers[0]);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn new_key_is_found_by_calls() {
    let server = KeyServer::start(body(&[OWN.ed.jwk("old")])).await;
    let env = Env::start(server.keys(), HOUR, Duration::ZERO);
    env.fetched(1).await;
    server.reply(body(&[OWN.ed.jwk("old"), ATTACKER.ed.jwk("new")]));
    let answers = join_all((0..1_000).map(|_| env.call(&ATTACKER.ed, "new"))).await;
    assert!(answers.iter().all(Option::is_none), "{answers:?}");
    assert_eq!(server.requests().len(), 2, "one fetch for all");
    assert_eq!(env.call(&OWN.ed, "old").await, None);
    // A server that does not answer delays such a call, and no other.
    server.reply(Reply::Silence);
    let (unknown, known) = futures::join!(env.call(&OWN.ec, "newer"), env.call(&OWN.ed, "old"));
    assert_eq!((unknown, known), (Some(AuthError::Unavailable), None));
}

#[tokio::test]
async fn missing_key_revokes_its_sessions_only() {
    let server = KeyServer::start(body(&[OWN.ed.jwk("a")])).await;
    let env = Env::start(server.keys(), TICK, TICK);
    env.fetched(1).await;
    let watch = |signer: &Signer, kid: &str| {
        let own = env.control.authenticate(&env.headers(signer, kid), None).expect("accepted");
        let account = AccountName::new("main").expect("a name");
        let tags = own.grant(&account).tags;
        let permit = own.open_session(Duration::ZERO).expect("no limit");
        env.control.watch(own.credential, account, tags, permit)
    };
    let mut first = watch(&OWN.ed, "a");
    assert_eq!(first.check(), None);
    server.reply(body(&[OWN.ed.jwk("a"), OWN.ec.jwk("b")]));
    env.fetched_again().await;
    let mut second = watch(&OWN.ec, "b");
    assert_eq!((first.check(), second.check()), (None, None), "both keys");
    server.reply(Reply::Status(500, String::new()));
    env.fetched_again().await;
    assert_eq!((first.check(), second.check()), (None, None), "a failure revokes nothing");
    server.reply(body(&[OWN.ec.jwk("b")]));
    env.fetched_again().await;
    assert_eq!((first.check(), second.check()), (Some(AccessEnd::Revoked), None));
    assert_eq!(env.call(&OWN.ed, "a").await, Some(AuthError::KeyUnknown));
    assert_eq!(env.changes.load(Ordering::Relaxed), 3, "sessions are woken at each change");
    let text = env.registry.encode();
    let success = samples(&text, "powerstream_gateway_jwks_last_fetch_success_timestamp_seconds");
    assert!(success["{issuer=\"corp\"}"] > 1_700_000_000, "{success:?}");
}

#[tokio::test]
async fn bearer_is_sent_and_read_each_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("bearer");
    std::fs::write(&file, "first\n").expect("ours");
    let server = KeyServer::start(body(&[OWN.ed.jwk("a")])).await;
    let keys = JwtKeysConfig { bearer_file: Some(file.clone()), ..server.keys() };
    let env = Env::start(keys, TICK, TICK);
    env.fetched(1).await;
    std::fs::write(&file, "second\n").expect("ours");
    env.fetched_again().await;
    std::fs::remove_file(&file).expect("ours");
    env.fetched_again().await;
    assert!(env.fetches("file") > 0);
    let requests = server.requests();
    let sent =
        |text: &str| requests.iter().filter(|head| head.contains(&format!("authorization: Bearer {text}\r"))).count();
    assert!(
        sent("first") > 0 && sent("second") > 0 && sent("first") + sent("second") == requests.len(),
        "{requests:?}"
    );
    assert_eq!(env.call(&OWN.ed, "a").await, None, "the last good set");
}
