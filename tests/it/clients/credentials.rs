//! Credentials that are rotated, expire or are withdrawn while an example streams.

use powerstream_gateway::access::TagsConfig;
use powerstream_gateway::access::jwt::JwtKeysConfig;

use super::env::Stage;
use super::language::Language;
use super::security::{EXAMPLE, Presents};
use crate::harness::jwt::{Key, config, key_set};
use crate::harness::pki::Identity;
use crate::harness::tokens::Secret;

/// Seconds that a short credential lasts.
const LIFETIME: i64 = 4;
/// What an example prints when its credential is about to expire.
const ANNOUNCED: &str = "draining (credentials expire): the gateway ends this session soon\n";
/// Seconds after `exp` during which the gateway accepts a JWT.
const LEEWAY: i64 = 30;
/// Credentials of which one is long enough for the start of an example on a busy machine.
const SHORT_CREDENTIALS_MAX: usize = 10;
/// Seconds of a credential that does not expire within a test.
const LONG: i64 = 600;

/// A new token is added, given to the example, and the old one is removed: the example resumes with the new one.
pub async fn rotated_token_resumes_exactly_once(language: Language) {
    let mut stage = Stage::new(language).await;
    stage.start().await;
    stage.example.prints(20).await;
    let next = Secret::new(EXAMPLE, 2);
    stage.security.accept(&[&stage.security.secret, &next]);
    stage.security.accepted(stage.gateway().grpc(), &next).await;
    stage.security.hand_out(&next.token.token);
    stage.security.accept(&[&next]);
    stage.example.reports("disconnected: CREDENTIALS_REVOKED: ").await;
    stage.verify("over a rotated token").await;
    let words = stage.example.life().stderr();
    assert_eq!(words.matches("disconnected: ").count(), 1, "one session ended:\n{words}");
    for secret in [&stage.security.secret, &next] {
        assert!(!words.contains(&secret.token.token), "a credential is never printed");
    }
    stage.example.stop().await;
}

/// What an operator withdraws ends the example with a reason; what is given back continues where it ended.
pub async fn withdrawn_access_stops_with_reason(language: Language) {
    let mut stage = Stage::new(language).await;
    stage.start().await;
    stage.example.prints(20).await;
    stage.security.accept(&[]);
    stops_with(&mut stage, "CREDENTIALS_REVOKED").await;

    stage.security.accept(&[&stage.security.secret]);
    stage.security.accepted(stage.gateway().grpc(), &stage.security.secret).await;
    stage.start().await;
    stage.more_posts(20).await;
    stage.example.prints(1).await;
    stage.reload(|settings| settings.roles[0].accounts = vec!["elsewhere".into()]).await;
    stops_with(&mut stage, "ACCESS_REVOKED").await;
    stage.start().await;
    stops_with(&mut stage, "ACCESS_DENIED").await;

    stage.reload(|settings| settings.roles[0].accounts = vec!["main".into()]).await;
    stage.start().await;
    stage.more_posts(20).await;
    stage.example.prints(1).await;
    let tags = Some(TagsConfig { allow: vec!["cats".into()], ..TagsConfig::default() });
    stage.reload(|settings| settings.roles[0].tags = tags).await;
    stage.example.reports("disconnected: RIGHTS_CHANGED: ").await;
    stops_with(&mut stage, "TAG_DENIED").await;

    stage.reload(|settings| settings.roles[0].tags = None).await;
    stage.start().await;
    stage.more_posts(1).await;
    stage.verify("over withdrawn access").await;
    stage.example.stop().await;
}

async fn stops_with(stage: &mut Stage, reason: &str) {
    stage.example.ends_with(4).await;
    let words = stage.example.life().stderr();
    assert!(words.contains(&format!("error: {reason}: ")), "{reason}:\n{words}");
}

/// Starts the example with a short credential, and waits until a session has announced its end. An example whose credential
/// expires while it still starts reads another one.
async fn start_with_short(stage: &mut Stage, issue: impl Fn(&Stage)) {
    let retries = |words: &str| words.matches("; reconnecting in ").count();
    issue(stage);
    stage.start().await;
    for _ in 0..SHORT_CREDENTIALS_MAX {
        let before = retries(&stage.example.life().stderr());
        let is_over = |words: &str| words.contains(ANNOUNCED) || retries(words) > before;
        stage.example.until("its credential expires", |life| is_over(&life.stderr())).await;
        if stage.example.life().stderr().contains(ANNOUNCED) {
            return;
        }
        issue(stage);
    }
    panic!("it announces no expiry:\n{}", stage.example.life().stderr());
}

/// A JWT that expires: its end is announced, and the example resumes with the one that is in the file by then.
pub async fn expired_jwt_is_announced_and_replaced(language: Language) {
    let key = Key::new("only");
    let mut stage = Stage::with(language, |settings| {
        let file = settings.data_dir.with_file_name("jwks.json");
        std::fs::write(&file, key_set(&[&key])).expect("the directory is ours");
        let keys = JwtKeysConfig { file: Some(file), ..JwtKeysConfig::default() };
        settings.auth.jwt = vec![config(keys, EXAMPLE)];
    })
    .await;
    start_with_short(&mut stage, |stage| stage.security.hand_out(&key.token(LIFETIME - LEEWAY))).await;
    let next = key.token(LONG);
    stage.security.hand_out(&next);
    stage.example.reports("disconnected: CREDENTIALS_EXPIRED: ").await;
    stage.verify("over an expired JWT").await;
    let words = stage.example.life().stderr();
    assert!(!words.contains(&next), "a credential is never printed");
    stage.example.stop().await;
}

/// A client certificate is the only credential. It expires, and its certificate file is replaced before its key file: the
/// example waits until they match, and resumes.
pub async fn client_certificate_alone_is_rotated(language: Language) {
    let mut stage = Stage::presenting(language, Presents::Certificate, |_| ()).await;
    let put = |stage: &Stage, identity: &Identity, file: &str| {
        let content = if file == "client.pem" { &identity.certificate } else { &identity.key };
        stage.security.put(file, content);
    };
    let issue = |stage: &Stage| {
        let short = stage.security.identity(LIFETIME.unsigned_abs());
        put(stage, &short, "client.pem");
        put(stage, &short, "client.key");
    };
    start_with_short(&mut stage, issue).await;
    let next = stage.security.identity(LONG.unsigned_abs());
    put(&stage, &next, "client.pem");
    let retries = |words: &str| {
        let announced = words.rfind(ANNOUNCED).expect("it was announced");
        words[announced..].matches("; reconnecting in ").count()
    };
    stage.example.until("the pair does not match", |life| retries(&life.stderr()) >= 2).await;
    assert!(stage.example.life().stderr().contains("disconnected: CREDENTIALS_EXPIRED: "));
    put(&stage, &next, "client.key");
    stage.verify("over a rotated certificate").await;
    let words = stage.example.life().stderr();
    assert!(!words.contains("PRIVATE KEY"), "a key is never printed:\n{words}");
    stage.example.stop().await;
}
