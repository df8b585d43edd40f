use serde_json::json;

use super::*;
use crate::access::jwt::testing::{OWN, encoded, key_set};

/// A key with one member replaced; `null` removes it.
fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    let own = jwk.as_object_mut().expect("an object");
    own.remove(name);
    if !value.is_null() {
        own.insert(name.into(), value);
    }
    jwk
}

#[test]
fn keys_that_cannot_verify_are_left_out() {
    let (rsa, ec, ed) = (|| OWN.rsa.jwk("a"), || OWN.ec.jwk("a"), || OWN.ed.jwk("a"));
    let modulus = |bits: usize| {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] >>= (8 - bits % 8) % 8;
        json!(encoded(bytes))
    };
    let zeros = [&[0; 3][..], &[0xff; 256]].concat();
    for (name, jwk, is_key) in [
        ("RSA", rsa(), true),
        ("EC", ec(), true),
        ("Ed25519", ed(), true),
        ("symmetric", json!({ "kty": "oct", "kid": "a", "alg": "HS256", "k": "c2VjcmV0" }), false),
        ("symmetric with the name of RSA", with(rsa(), "k", json!("c2VjcmV0")), false),
        ("private", with(ed(), "d", json!("c2VjcmV0")), false),
        ("use enc", with(rsa(), "use", json!("enc")), false),
        ("use of another type", with(rsa(), "use", json!(["sig"])), false),
        ("no use", with(rsa(), "use", Value::Null), true),
        ("operation verify", with(rsa(), "key_ops", json!(["verify"])), true),
        ("operation encrypt", with(rsa(), "key_ops", json!(["encrypt"])), false),
        ("operations are a text", with(rsa(), "key_ops", json!("verify")), false),
        ("alg of its kind", with(rsa(), "alg", json!("RS256")), true),
        ("alg of another kind", with(rsa(), "alg", json!("ES256")), false),
        ("symmetric alg", with(rsa(), "alg", json!("HS256")), false),
        ("alg none", with(rsa(), "alg", json!("none")), false),
        ("alg for encryption", with(rsa(), "alg", json!("RSA-OAEP")), false),
        ("alg is a number", with(rsa(), "alg", json!(256)), false),
        ("kid is a number", with(rsa(), "kid", json!(7)), false),
        ("no kty", with(rsa(), "kty", Value::Null), false),
        ("kty of tomorrow", with(rsa(), "kty", json!("AKP")), false),
        ("kty of another kind", with(rsa(), "kty", json!("EC")), false),
        ("curve of tomorrow", with(ec(), "crv", json!("P-521")), false),
        ("curve of another kind", with(ed(), "crv", json!("P-256")), false),
        ("Ed448", with(ed(), "crv", json!("Ed448")), false),
        ("short point", with(ed(), "x", json!(encoded([1; 31]))), false),
        ("long point", with(ec(), "y", json!(encoded([1; 33]))), false),
        ("no point", with(ec(), "y", Value::Null), false),
        ("padded point", with(ed(), "x", json!(format!("{}=", encoded([1; 32])))), false),
        ("1,024 bits", with(rsa(), "n", modulus(1_024)), false),
        ("2,047 bits", with(rsa(), "n", modulus(2_047)), false),
        ("2,048 bits", with(rsa(), "n", modulus(2_048)), true),
        ("2,048 bits and zeros", with(rsa(), "n", json!(encoded(zeros))), true),
        ("2,040 bits and zeros", with(rsa(), "n", json!(encoded([&[0; 9][..], &[0xff; 255]].concat()))), false),
        ("8,193 bits", with(rsa(), "n", modulus(8_193)), false),
        ("empty modulus", with(rsa(), "n", json!("")), false),
        ("exponent 1", with(rsa(), "e", json!(encoded([1]))), false),
        ("exponent 0", with(rsa(), "e", json!(encoded([0]))), false),
        ("even exponent", with(rsa(), "e", json!(encoded([1, 0, 0]))), false),
        ("long exponent", with(rsa(), "e", json!(encoded([1; 5]))), false),
        ("not an object", json!("key"), false),
    ] {
        let set = JwtKeySet::parse(key_set(std::slice::from_ref(&jwk)).as_bytes()).expect("a key set");
        assert_eq!(set.len() == 1, is_key, "{name}: {jwk}");
        // One bad key does not spoil the others.
        let set = JwtKeySet::parse(key_set(&[jwk, OWN.ec.jwk("z")]).as_bytes()).expect("a key set");
        assert!(set.find(Some("z"), JwtAlgorithm::ES256).is_ok(), "{name}");
    }
}

#[test]
fn texts_that_are_no_key_set_are_refused() {
    for text in ["", "null", "[]", "{}", "<html>", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":[]"#, "\u{0}"] {
        assert_eq!(JwtKeySet::parse(text.as_bytes()), None, "{text}");
    }
    let many = |count: usize| key_set(&vec![OWN.ed.jwk("a"); count]);
    assert!(JwtKeySet::parse(many(KEYS_MAX).as_bytes()).is_some());
    assert_eq!(JwtKeySet::parse(many(KEYS_MAX + 1).as_bytes()), None);
    assert!(JwtKeySet::parse(br#"{"keys":[]}"#).expect("a key set").is_empty());
}

#[test]
fn equal_sets_are_equal_in_any_order() {
    let parse = |keys: &[Value]| JwtKeySet::parse(key_set(keys).as_bytes()).expect("a key set");
    let (one, other) = (OWN.ed.jwk("a"), OWN.ec.jwk("b"));
    assert_eq!(parse(&[one.clone(), other.clone()]), parse(&[other.clone(), one.clone()]));
    assert_ne!(parse(std::slice::from_ref(&one)), parse(&[one.clone(), other]));
    assert_ne!(parse(std::slice::from_ref(&one)), parse(&[with(one.clone(), "kid", json!("c"))]));
    assert_ne!(parse(&[OWN.rsa.jwk("a")]), parse(&[with(OWN.rsa.jwk("a"), "alg", json!("RS256"))]));
    // A thumbprint of the key itself finds it again under its id only.
    let set = parse(&[one]);
    let digest = set.find(Some("a"), JwtAlgorithm::EdDSA).expect("it is there").digest;
    assert!(set.contains(Some("a"), JwtAlgorithm::EdDSA, digest));
    assert!(set.contains(None, JwtAlgorithm::EdDSA, digest));
    assert!(!set.contains(Some("b"), JwtAlgorithm::EdDSA, digest));
    assert!(!set.contains(Some("a"), JwtAlgorithm::ES256, digest));
    assert!(!set.contains(Some("a"), JwtAlgorithm::EdDSA, [0; 32]));
}
