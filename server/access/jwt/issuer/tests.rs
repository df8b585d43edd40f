use http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::access::jwt::testing::{NOW, NOW_SECONDS, OWN, claims_at, claims_with, issuer, key_set};
use crate::access::jwt::{JwtKeysConfig, JwtRoleConfig};
use crate::access::{Access, AccessConfig, AuthError, Credential, PrincipalConfig, Right, RoleConfig, TagsConfig};
use crate::model::{AccountName, Rule};

struct Env {
    dir: tempfile::TempDir,
    config: AccessConfig,
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn role(name: &str, allow: Option<&[&str]>) -> RoleConfig {
    let tags = allow.map(|allow| TagsConfig { allow: texts(allow), ..TagsConfig::default() });
    RoleConfig {
        name: name.into(),
        accounts: texts(&["main"]),
        rights: vec![Right::Read],
        tags,
        rule_sets: None,
        limits: Default::default(),
    }
}

impl Env {
    /// Role `news` for members of the group `team`, role `all` for those with the scope `everything`.
    fn new(change: impl Fn(&mut JwtConfig)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("jwks.json");
        std::fs::write(&path, key_set(&[OWN.ed.jwk("ed")])).expect("ours");
        let mapping = |claim: &str, value: &str, role: &str| JwtRoleConfig {
            claim: claim.into(),
            value: value.into(),
            role: role.into(),
        };
        let mut own = issuer(JwtKeysConfig { file: Some(path), ..JwtKeysConfig::default() });
        own.roles = vec![mapping("groups", "team", "news"), mapping("scope", "everything", "all")];
        change(&mut own);
        let auth = AuthConfig { jwt: vec![own], ..AuthConfig::default() };
        let roles = vec![role("news", Some(&["news.*", "cats"])), role("all", None)];
        let principals = vec![PrincipalConfig { name: "indexer".into(), roles: texts(&["all"]) }];
        Self { dir, config: AccessConfig { auth, roles, principals, ..AccessConfig::default() } }
    }

    fn access(&self) -> Access {
        Access::load(&self.config).expect("good")
    }

    fn jwt(&mut self) -> &mut JwtConfig {
        &mut self.config.auth.jwt[0]
    }
}

fn authenticate(access: &Access, claims: &Value) -> Result<Credential, AuthError> {
    let mut headers = HeaderMap::new();
    let token = OWN.ed.token("ed", claims);
    headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    access.authenticate(&headers, None, NOW)
}

/// Which posts with these tags the caller sees; `None`: the caller has no right to read.
fn visible(access: &Access, credential: &Credential) -> Option<String> {
    let grant = access.grant(credential, &AccountName::new("main").expect("a name"));
    let tags = ["cats", "dogs", "news.a", "news.b", ""];
    let rules = |tag: &str| if tag.is_empty() { Vec::new() } else { vec![Rule { id: Some(1), tag: Some(tag.into()) }] };
    let seen = tags.into_iter().filter(|tag| grant.is_visible(&rules(tag)));
    grant.allows(Right::Read).then(|| seen.map(|tag| format!("[{tag}]")).collect())
}

#[test]
fn roles_and_tags_follow_claims() {
    let (plain, narrowing) = (Env::new(|_| ()), Env::new(|own| own.tags_claim = Some("tags".into())));
    let everyone = Env::new(|own| own.default_roles = texts(&["news"]));
    let (news, all) = ("[cats][news.a][news.b]", "[cats][dogs][news.a][news.b][]");
    for (env, claims, expected) in [
        (&plain, json!({}), None),
        (&plain, json!({ "groups": "team" }), Some(news)),
        (&plain, json!({ "groups": ["x", "team"] }), Some(news)),
        (&plain, json!({ "groups": ["x"] }), None),
        (&plain, json!({ "groups": "team x" }), None),
        (&plain, json!({ "groups": ["team", 7] }), None),
        (&plain, json!({ "groups": { "team": true } }), None),
        (&plain, json!({ "roles": ["all"] }), None),
        (&plain, json!({ "groups": ["everything"] }), None),
        (&plain, json!({ "scope": "everything" }), Some(all)),
        (&plain, json!({ "scope": "everything", "groups": "team" }), Some(all)),
        (&plain, json!({ "groups": "team", "tags": "dogs" }), Some(news)),
        (&everyone, json!({}), Some(news)),
        (&narrowing, json!({ "groups": "team" }), None),
        (&narrowing, json!({ "groups": "team", "tags": [] }), None),
        (&narrowing, json!({ "groups": "team", "tags": 7 }), None),
        (&narrowing, json!({ "groups": "team", "tags": ["*", 7] }), None),
        (&narrowing, json!({ "groups": "team", "tags": "*" }), Some(news)),
        (&narrowing, json!({ "groups": "team", "tags": "news.a" }), Some("[news.a]")),
        (&narrowing, json!({ "groups": "team", "tags": ["news.*", "dogs"] }), Some("[news.a][news.b]")),
        (&narrowing, json!({ "groups": "team", "tags": ["dogs"] }), None),
        (&narrowing, json!({ "scope": "everything", "tags": ["dogs"] }), Some("[dogs]")),
        (&narrowing, json!({ "scope": "everything", "tags": ["*"] }), Some("[cats][dogs][news.a][news.b]")),
        (&narrowing, json!({ "tags": ["*"] }), None),
    ] {
        let access = env.access();
        let credential = authenticate(&access, &claims_with(&claims)).expect("accepted");
        assert_eq!(visible(&access, &credential).as_deref(), expected, "{claims}");
    }
    let many = claims_with(&json!({ "groups": "team", "tags": vec!["a"; 101] }));
    assert_eq!(authenticate(&narrowing.access(), &many), Err(AuthError::Invalid));
}

#[test]
fn jwt_principal_has_no_configured_name() {
    let access = Env::new(|_| ()).access();
    for subject in ["alice", "indexer", "static:indexer", ":indexer"] {
        let credential = authenticate(&access, &claims_with(&json!({ "sub": subject }))).expect("accepted");
        assert_eq!(*credential.principal, format!("corp:{subject}"));
        assert_eq!(visible(&access, &credential), None, "{subject} has no role");
    }
}

/// The settings of an issuer decide about its running sessions, too.
#[test]
fn accepted_token_follows_new_settings() {
    let claims = claims_with(&json!({ "groups": ["team", "other"], "aud": ["powerstream-gateway", "old"] }));
    let first = Env::new(|own| own.audiences.push("old".into()));
    let credential = authenticate(&first.access(), &claims).expect("accepted");
    let checked = |change: &dyn Fn(&mut Env)| {
        let mut env = Env::new(|own| own.audiences.push("old".into()));
        change(&mut env);
        let access = env.access();
        access.principal(&credential).map(|_| visible(&access, &credential).unwrap_or_default())
    };
    let news = Some("[cats][news.a][news.b]".to_owned());
    assert_eq!(checked(&|_| ()), news);
    assert_eq!(checked(&|env| env.jwt().audiences = texts(&["old"])), news, "another audience that it has");
    assert_eq!(checked(&|env| env.jwt().audiences = texts(&["new"])), None);
    assert_eq!(checked(&|env| env.jwt().issuer = "https://other.example/".into()), None);
    assert_eq!(checked(&|env| env.jwt().name = "other".into()), None);
    assert_eq!(checked(&|env| env.config.auth.jwt.clear()), None);
    assert_eq!(checked(&|env| env.jwt().algorithms = vec![crate::access::jwt::JwtAlgorithm::RS256]), None);
    assert_eq!(checked(&|env| env.jwt().lifetime_max = std::time::Duration::from_secs(60)), None);
    assert_eq!(checked(&|env| env.jwt().roles.clear()), Some(String::new()));
    assert_eq!(checked(&|env| env.jwt().roles[0].value = "other".into()), news);
    assert_eq!(checked(&|env| env.jwt().tags_claim = Some("groups".into())), Some(String::new()));
    let write = |env: &Env, keys: &[Value]| {
        std::fs::write(env.dir.path().join("jwks.json"), key_set(keys)).expect("ours");
    };
    assert_eq!(checked(&|env| write(env, &[OWN.ed.jwk("ed"), OWN.ec.jwk("new")])), news, "a further key");
    assert_eq!(checked(&|env| write(env, &[OWN.ec.jwk("new")])), None, "the key is gone");
    assert_eq!(checked(&|env| write(env, &[OWN.ed.jwk("renamed")])), None);
}

#[test]
fn bearer_kind_follows_its_form() {
    let access = Env::new(|_| ()).access();
    let own = OWN.ed.token("ed", &claims_at(NOW_SECONDS));
    for (token, expected) in [
        (own.clone(), None),
        (format!("psg_{own}"), Some(AuthError::Invalid)),
        ("psg_a.b.c".into(), Some(AuthError::Invalid)),
        ("a.b".into(), Some(AuthError::Invalid)),
        ("opaque".into(), Some(AuthError::Invalid)),
        (format!("{own}.x"), Some(AuthError::Invalid)),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        assert_eq!(access.authenticate(&headers, None, NOW).err(), expected, "{token}");
    }
}

#[test]
fn file_without_keys_is_fault() {
    let env = Env::new(|_| ());
    let path = env.dir.path().join("jwks.json");
    for (text, word) in [
        ("<html>".to_owned(), "is not a JSON Web Key Set"),
        (r#"{"keys":[]}"#.to_owned(), "no public key"),
        (key_set(&[json!({ "kty": "oct", "k": "c2VjcmV0" })]), "no public key"),
        (" ".repeat((1 << 20) + 1), "more than 1048576 bytes"),
    ] {
        std::fs::write(&path, text).expect("ours");
        let faults = Access::load(&env.config).expect_err("refused");
        assert_eq!(faults.len(), 1);
        assert!(faults[0].to_string().contains(word) && faults[0].to_string().contains("jwks.json"), "{faults:?}");
    }
    std::fs::remove_file(&path).expect("ours");
    assert!(Access::load(&env.config).expect_err("refused")[0].to_string().contains("cannot be read"));
}

#[test]
fn fetched_keys_survive_reload_of_other_settings() {
    let url = |text: &str| JwtKeysConfig { url: Some(text.parse().expect("a URL")), ..JwtKeysConfig::default() };
    let of = |keys: JwtKeysConfig, audience: &str| {
        let own = JwtConfig { audiences: texts(&[audience]), ..issuer(keys) };
        Issuers::load(&AuthConfig { jwt: vec![own], ..AuthConfig::default() }, &mut Vec::new())
    };
    let first = of(url("https://a.example/"), "x");
    let known = first.caches().next().expect("one").clone();
    let adopted = |mut next: Issuers| {
        next.adopt_keys(&first);
        Arc::ptr_eq(next.caches().next().expect("one"), &known)
    };
    assert!(adopted(of(url("https://a.example/"), "x")));
    assert!(adopted(of(url("https://a.example/"), "y")));
    assert!(!adopted(of(url("https://b.example/"), "x")), "other keys");
    let authority = JwtKeysConfig { ca_file: Some("ca.pem".into()), ..url("https://a.example/") };
    assert!(!adopted(of(authority, "x")), "another authority");
}

/// A JWT is revoked by its id or its subject, and only that of the named issuer.
#[test]
fn revoked_tokens_are_not_accepted() {
    let mut env = Env::new(|_| ());
    let claims = claims_with(&json!({ "groups": ["team"], "jti": "id-1" }));
    let other = claims_with(&json!({ "groups": ["team"], "jti": "id-2", "sub": "bob" }));
    let path = env.dir.path().join("revoked.yaml");
    env.config.auth.revoked_file = Some(path.clone());
    for (entries, expected) in [
        ("[]", [true, true]),
        ("[{ issuer: corp, jti: id-1 }]", [false, true]),
        ("[{ issuer: corp, subject: bob }]", [true, false]),
        ("[{ issuer: other, jti: id-1 }, { issuer: other, subject: bob }]", [true, true]),
        ("[{ issuer: corp, jti: id }, { issuer: corp, subject: id-1 }]", [true, true]),
    ] {
        std::fs::write(&path, "revoked: []").expect("ours");
        let before = env.access();
        let credentials = [&claims, &other].map(|claims| authenticate(&before, claims).expect("accepted"));
        std::fs::write(&path, format!("revoked: {entries}")).expect("ours");
        let access = env.access();
        assert_eq!(credentials.map(|own| access.principal(&own).is_some()), expected, "{entries}");
        let calls = [&claims, &other].map(|claims| authenticate(&access, claims));
        assert_eq!(calls.map(|call| call.is_ok()), expected, "{entries}");
    }
}
