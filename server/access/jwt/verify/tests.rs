use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::access::AuthConfig;
use crate::access::jwt::Issuers;
use crate::access::jwt::testing::{
    ATTACKER, ISSUER, NOW, NOW_SECONDS, OWN, claims_at, claims_with, encoded, issuer, key_set,
};

const INVALID: &str = "invalid";
const EXPIRED: &str = "expired";
const UNKNOWN: &str = "unknown key";
const GOOD: &str = "good";

/// Issuer `corp` with a key of each kind, changed by `change`.
fn issuers(change: impl Fn(&mut JwtConfig)) -> Issuers {
    let set = key_set(&[OWN.rsa.jwk("rsa"), OWN.ec.jwk("ec"), OWN.ed.jwk("ed")]);
    issuers_of(&set, change)
}

fn issuers_of(set: &str, change: impl Fn(&mut JwtConfig)) -> Issuers {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("jwks.json");
    std::fs::write(&path, set).expect("ours");
    let mut own = issuer(crate::access::jwt::JwtKeysConfig { file: Some(path), ..Default::default() });
    change(&mut own);
    let mut faults = Vec::new();
    let issuers = Issuers::load(&AuthConfig { jwt: vec![own], ..AuthConfig::default() }, &mut faults);
    assert_eq!(faults, []);
    issuers
}

fn outcome(issuers: &Issuers, token: &str) -> &'static str {
    match issuers.verify(token, NOW) {
        Ok(_) => GOOD,
        Err(JwtError::Invalid(_)) => INVALID,
        Err(JwtError::Expired) => EXPIRED,
        Err(JwtError::KeyUnknown) => UNKNOWN,
        Err(JwtError::KeysUnavailable) => "unavailable",
    }
}

fn check(issuers: &Issuers, cases: Vec<(&str, String, &str)>) {
    for (name, token, expected) in cases {
        assert_eq!(outcome(issuers, &token), expected, "{name}: {:?}", issuers.verify(&token, NOW));
    }
}

fn payload() -> String {
    claims_at(NOW_SECONDS).to_string()
}

fn hs256(key: &[u8]) -> String {
    let message = format!("{}.{}", encoded(r#"{"alg":"HS256","kid":"rsa"}"#), encoded(payload()));
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(message.as_bytes());
    format!("{message}.{}", encoded(mac.finalize().into_bytes()))
}

/// The public RSA key as DER, roughly as openssl writes it: what an attacker has.
fn public_der() -> Vec<u8> {
    let jwk = OWN.rsa.jwk("rsa");
    let part = |name: &str| jwk[name].as_str().expect("a text").as_bytes().to_vec();
    [b"0\x82\x01\x22".to_vec(), part("n"), part("e")].concat()
}

#[test]
fn tokens_of_each_algorithm_are_accepted() {
    let issuers = issuers(|_| ());
    for (kid, key) in [("rsa", &OWN.rsa), ("ec", &OWN.ec), ("ed", &OWN.ed)] {
        let verified = issuers.verify(&key.token(kid, &claims_at(NOW_SECONDS)), NOW).expect("good");
        assert_eq!((&*verified.issuer, verified.kid.as_deref()), ("corp", Some(kid)));
        assert_eq!(&*verified.claims.subject, "alice");
        assert_eq!(verified.not_after, UnixMillis((NOW_SECONDS + 3_630) * 1_000));
        // Each of them fits another algorithm, so that none needs to be named.
        let header = format!(r#"{{"alg":"{}"}}"#, key.algorithm());
        assert_eq!(outcome(&issuers, &key.sign(&header, &payload())), GOOD, "{kid}");
    }
}

#[test]
fn forged_signatures_are_refused() {
    let issuers = issuers(|_| ());
    let unsigned = |header: &str| format!("{}.{}.", encoded(header), encoded(payload()));
    let own = |header: &str| OWN.rsa.sign(header, &payload());
    let good = own(r#"{"alg":"RS256","kid":"rsa"}"#);
    assert_eq!(outcome(&issuers, &good), GOOD);
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(public_der()));
    let other = encoded(claims_with(&json!({ "sub": "bob" })).to_string());
    let swapped = format!("{}.{other}.{signature}", encoded(r#"{"alg":"RS256","kid":"rsa"}"#));
    let ec = |header: &str| ATTACKER.ec.sign(header, &payload());
    check(
        &issuers,
        vec![
            ("none", unsigned(r#"{"alg":"none"}"#), INVALID),
            ("None", unsigned(r#"{"alg":"None","kid":"rsa"}"#), INVALID),
            ("NONE with a signature", format!("{}x", unsigned(r#"{"alg":"NONE","kid":"rsa"}"#)), INVALID),
            ("no algorithm", own(r#"{"kid":"rsa"}"#), INVALID),
            ("algorithm is a number", own(r#"{"alg":256,"kid":"rsa"}"#), INVALID),
            ("algorithm in lower case", own(r#"{"alg":"rs256","kid":"rsa"}"#), INVALID),
            ("algorithm not accepted", own(r#"{"alg":"RS512","kid":"rsa"}"#), INVALID),
            ("two algorithms", own(r#"{"alg":"RS256","alg":"RS256","kid":"rsa"}"#), INVALID),
            ("HS256 with the public key as DER", hs256(&public_der()), INVALID),
            ("HS256 with the public key as PEM", hs256(pem.as_bytes()), INVALID),
            ("HS256 with the JWK", hs256(OWN.rsa.jwk("rsa").to_string().as_bytes()), INVALID),
            ("HS256 with an empty key", hs256(b""), INVALID),
            ("ES256 against the RSA key", ec(r#"{"alg":"ES256","kid":"rsa"}"#), INVALID),
            ("RS256 against the EC key", own(r#"{"alg":"RS256","kid":"ec"}"#), INVALID),
            ("EdDSA against the EC key", OWN.ed.sign(r#"{"alg":"EdDSA","kid":"ec"}"#, &payload()), INVALID),
            ("key of an attacker", ATTACKER.rsa.token("rsa", &claims_at(NOW_SECONDS)), INVALID),
            ("EC key of an attacker", ATTACKER.ec.token("ec", &claims_at(NOW_SECONDS)), INVALID),
            ("Ed25519 key of an attacker", ATTACKER.ed.token("ed", &claims_at(NOW_SECONDS)), INVALID),
            ("key of an attacker, no kid", ec(r#"{"alg":"ES256"}"#), INVALID),
            ("no signature", format!("{message}."), INVALID),
            (
                "zero signature of EC",
                format!("{}.{}.{}", encoded(r#"{"alg":"ES256","kid":"ec"}"#), encoded(payload()), encoded([0; 64])),
                INVALID,
            ),
            ("claims of another token", swapped, INVALID),
        ],
    );
}

#[test]
fn malformed_tokens_are_refused() {
    let issuers = issuers(|_| ());
    let header = r#"{"alg":"RS256","kid":"rsa"}"#;
    let good = OWN.rsa.sign(header, &payload());
    let parts: Vec<&str> = good.split('.').collect();
    let crit =
        |value: &str| OWN.rsa.sign(&format!(r#"{{"alg":"RS256","kid":"rsa","b64":true,"crit":{value}}}"#), &payload());
    let kid = |value: Value| OWN.rsa.sign(&json!({ "alg": "RS256", "kid": value }).to_string(), &payload());
    let foreign = |name: &str, value: Value| {
        ATTACKER.rsa.sign(&json!({ "alg": "RS256", "kid": "rsa", name: value }).to_string(), &payload())
    };
    let cty = r#"{"alg":"RS256","kid":"rsa","cty":"JWT"}"#;
    let url = "http://127.0.0.1:1/keys";
    check(
        &issuers,
        vec![
            ("empty", String::new(), INVALID),
            ("dots", "..".into(), INVALID),
            ("two parts", format!("{}.{}", parts[0], parts[1]), INVALID),
            ("four parts", format!("{good}."), INVALID),
            ("five parts", format!("{good}.{good}"), INVALID),
            ("a dot before", format!(".{good}"), INVALID),
            ("padded", format!("{}.{}.{}==", parts[0], parts[1], parts[2]), INVALID),
            ("padded header", format!("{}.{}.{}", URL_SAFE.encode(r#"{"alg":"RS256"} "#), parts[1], parts[2]), INVALID),
            ("header is no JSON", OWN.rsa.sign("alg", &payload()), INVALID),
            ("header is a list", OWN.rsa.sign("[]", &payload()), INVALID),
            ("claims are no JSON", OWN.rsa.sign(header, "iss"), INVALID),
            ("claims are a list", OWN.rsa.sign(header, "[]"), INVALID),
            ("claims are null", OWN.rsa.sign(header, "null"), INVALID),
            ("deep claims", OWN.rsa.sign(header, &format!("{}{}", "[".repeat(4_000), "]".repeat(4_000))), INVALID),
            ("nested", OWN.rsa.sign(cty, &good), INVALID),
            ("nested as text", OWN.rsa.sign(cty, &format!("{good:?}")), INVALID),
            ("unknown crit", crit(r#"["x"]"#), INVALID),
            ("crit of b64", crit(r#"["b64"]"#), INVALID),
            ("empty crit", crit("[]"), INVALID),
            ("null crit", crit("null"), INVALID),
            ("text crit", crit(r#""exp""#), INVALID),
            ("kid is a number", kid(json!(1)), INVALID),
            ("kid is empty", kid(json!("")), INVALID),
            ("kid has NUL", kid(json!("rsa\u{0}")), INVALID),
            ("kid is long", kid(json!("x".repeat(10 << 10))), INVALID),
            ("kid is a path", kid(json!("../../../etc/passwd")), UNKNOWN),
            ("kid is a URL", kid(json!(url)), UNKNOWN),
            ("kid in upper case", kid(json!("RSA")), UNKNOWN),
            ("jwk", foreign("jwk", ATTACKER.rsa.jwk("rsa")), INVALID),
            ("jku", foreign("jku", json!(url)), INVALID),
            ("x5u", foreign("x5u", json!(url)), INVALID),
            ("x5c", foreign("x5c", json!(["MIIB"])), INVALID),
        ],
    );
}

/// Whatever character of a token is another one, the token is not accepted.
#[test]
fn each_character_counts() {
    let issuers = issuers(|_| ());
    let good = OWN.ed.token("ed", &claims_at(NOW_SECONDS));
    assert_eq!(outcome(&issuers, &good), GOOD);
    for at in 0..good.len() {
        for other in ["A", "B", "_", ".", "=", "\u{e9}"] {
            let mut changed = good.clone();
            changed.replace_range(at..=at, other);
            assert!(changed == good || outcome(&issuers, &changed) != GOOD, "{at}: {changed}");
        }
        assert_ne!(outcome(&issuers, &good[..at]), GOOD, "{at}");
    }
}

#[test]
fn claims_follow_table() {
    let issuers = issuers(|_| ());
    let text_of = |name: &str, text: &str| {
        let claims = claims_with(&json!({ name: null })).to_string();
        format!("{},\"{name}\":{text}}}", claims.strip_suffix('}').expect("an object"))
    };
    for (claim, value, expected) in [
        ("aud", "null", INVALID),
        ("aud", r#""other""#, INVALID),
        ("aud", r#""powerstream-gateway ""#, INVALID),
        ("aud", "[]", INVALID),
        ("aud", "7", INVALID),
        ("aud", "{}", INVALID),
        ("aud", r#"["other","powerstream-gateway"]"#, GOOD),
        ("aud", r#"["other","powerstream"]"#, INVALID),
        ("aud", r#"["powerstream-gateway",7]"#, INVALID),
        ("aud", r#"[["powerstream-gateway"]]"#, INVALID),
        ("iss", "null", INVALID),
        ("iss", r#""https://login.example""#, INVALID),
        ("iss", r#""https://login.example//""#, INVALID),
        ("iss", r#""HTTPS://login.example/""#, INVALID),
        ("iss", r#"["https://login.example/"]"#, INVALID),
        ("sub", "null", INVALID),
        ("sub", r#""""#, INVALID),
        ("sub", "7", INVALID),
        ("sub", r#"["alice"]"#, INVALID),
        ("sub", r#""al\nice""#, INVALID),
        ("sub", r#""static:indexer""#, GOOD),
        ("exp", "null", INVALID),
        ("exp", r#""1800003600""#, INVALID),
        ("exp", "-1", INVALID),
        ("exp", "-9223372036854775808", INVALID),
        ("exp", "1.5", INVALID),
        ("exp", "1800003600.0", INVALID),
        ("exp", "18e8", INVALID),
        ("exp", "1e400", INVALID),
        ("exp", "true", INVALID),
        ("exp", "9223372036854775808", INVALID),
        ("exp", "18446744073709551615", INVALID),
        ("exp", "18446744073709551616", INVALID),
        ("exp", "253402300800", INVALID),
        ("exp", "0", EXPIRED),
        ("nbf", r#""1""#, INVALID),
        ("nbf", "-1", INVALID),
        ("nbf", "null", INVALID),
        ("nbf", "18446744073709551615", INVALID),
        ("iat", "1.5", INVALID),
        ("iat", "null", INVALID),
    ] {
        let token = OWN.ed.sign(r#"{"alg":"EdDSA","kid":"ed"}"#, &text_of(claim, value));
        assert_eq!(outcome(&issuers, &token), expected, "{claim} = {value}: {:?}", issuers.verify(&token, NOW));
        // Absent, where null was tried.
        if value == "null" {
            let token = OWN.ed.token("ed", &claims_with(&json!({ claim: null })));
            let expected = if claim == "nbf" { GOOD } else { expected };
            assert_eq!(outcome(&issuers, &token), expected, "no {claim}");
        }
    }
    let twice = payload().replacen('{', r#"{"sub":"root","#, 1);
    assert_eq!(outcome(&issuers, &OWN.ed.sign(r#"{"alg":"EdDSA","kid":"ed"}"#, &twice)), INVALID, "two subjects");
}

#[test]
fn times_follow_table() {
    let (limited, any) = (issuers(|_| ()), issuers(|own| own.lifetime_max = Duration::ZERO));
    let now = NOW_SECONDS;
    for (claims, expected, expected_any) in [
        (json!({ "exp": now - 29 }), GOOD, GOOD),
        (json!({ "exp": now - 30 }), EXPIRED, EXPIRED),
        (json!({ "exp": now - 31 }), EXPIRED, EXPIRED),
        (json!({ "nbf": now + 30 }), GOOD, GOOD),
        (json!({ "nbf": now + 31 }), INVALID, INVALID),
        (json!({ "iat": now + 30 }), GOOD, GOOD),
        (json!({ "iat": now + 31 }), INVALID, INVALID),
        (json!({ "iat": null }), INVALID, GOOD),
        (json!({ "iat": now, "exp": now + 86_400 }), GOOD, GOOD),
        (json!({ "iat": now, "exp": now + 86_401 }), INVALID, GOOD),
        (json!({ "iat": 0, "exp": now + 60 }), INVALID, GOOD),
        (json!({ "exp": 253_402_300_799_u64 }), INVALID, GOOD),
        // Not valid yet, and over.
        (json!({ "nbf": now + 31, "exp": now - 31 }), INVALID, INVALID),
    ] {
        let token = OWN.ec.token("ec", &claims_with(&claims));
        assert_eq!(outcome(&limited, &token), expected, "{claims}");
        assert_eq!(outcome(&any, &token), expected_any, "{claims}, any lifetime");
    }
    let token = OWN.ec.token("ec", &claims_at(now));
    for (time, is_good) in
        [(i64::MIN, false), (0, false), (NOW.0 + 3_629_999, true), (NOW.0 + 3_630_000, false), (i64::MAX, false)]
    {
        assert_eq!(limited.verify(&token, UnixMillis(time)).is_ok(), is_good, "{time}");
    }
}

#[test]
fn key_must_be_only_one_that_fits() {
    let (first, second) = (&OWN.ed, &ATTACKER.ed);
    let token = |kid: Option<&str>| {
        let header = json!({ "alg": "EdDSA", "kid": kid }).to_string();
        first.sign(&header, &payload())
    };
    let without_kid = |mut jwk: Value| {
        jwk.as_object_mut().expect("an object").remove("kid");
        jwk
    };
    for (name, set, kid, expected) in [
        ("one", vec![first.jwk("a")], Some("a"), GOOD),
        ("other id", vec![first.jwk("a")], Some("b"), UNKNOWN),
        ("no id in token", vec![first.jwk("a")], None, GOOD),
        ("no id in key", vec![without_kid(first.jwk("a"))], Some("a"), UNKNOWN),
        ("no id in both", vec![without_kid(first.jwk("a"))], None, GOOD),
        ("no id, two fit", vec![first.jwk("a"), second.jwk("b")], None, INVALID),
        ("no id, one fits", vec![first.jwk("a"), OWN.ec.jwk("b")], None, GOOD),
        ("no id, none fits", vec![OWN.ec.jwk("b")], None, INVALID),
        ("doubled id", vec![first.jwk("a"), second.jwk("a")], Some("a"), INVALID),
        ("the same key twice", vec![first.jwk("a"), first.jwk("a")], Some("a"), GOOD),
        ("doubled id of another kind", vec![first.jwk("a"), OWN.ec.jwk("a")], Some("a"), GOOD),
        ("id of another kind", vec![OWN.ec.jwk("a")], Some("a"), INVALID),
    ] {
        assert_eq!(outcome(&issuers_of(&key_set(&set), |_| ()), &token(kid)), expected, "{name}");
    }
}

/// Both issuers sign with a key of the same id: each key counts for its own issuer only.
#[test]
fn key_of_another_issuer_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let entry = |name: &str, iss: &str, jwk: Value| {
        let path = dir.path().join(name);
        std::fs::write(&path, key_set(&[jwk])).expect("ours");
        let keys = crate::access::jwt::JwtKeysConfig { file: Some(path), ..Default::default() };
        JwtConfig { name: name.into(), issuer: iss.into(), ..issuer(keys) }
    };
    let jwt = vec![
        entry("a", ISSUER, OWN.ed.jwk("default")),
        entry("b", "https://other.example/", ATTACKER.ed.jwk("default")),
    ];
    let mut faults = Vec::new();
    let issuers = Issuers::load(&AuthConfig { jwt, ..AuthConfig::default() }, &mut faults);
    assert_eq!(faults, []);
    let other = claims_with(&json!({ "iss": "https://other.example/" }));
    let own = claims_at(NOW_SECONDS);
    check(
        &issuers,
        vec![
            ("a by a", OWN.ed.token("default", &own), GOOD),
            ("b by b", ATTACKER.ed.token("default", &other), GOOD),
            ("a by b", ATTACKER.ed.token("default", &own), INVALID),
            ("b by a", OWN.ed.token("default", &other), INVALID),
            ("neither", OWN.ed.token("default", &claims_with(&json!({ "iss": "https://none.example/" }))), INVALID),
        ],
    );
}

#[test]
fn debug_shows_no_claims() {
    let claims = claims_with(&json!({ "email": "alice@example.com" }));
    let verified = issuers(|_| ()).verify(&OWN.ed.token("ed", &claims), NOW).expect("good");
    assert!(!format!("{verified:?}").contains("alice"), "{verified:?}");
}
