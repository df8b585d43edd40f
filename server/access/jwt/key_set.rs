//! A JSON Web Key Set: which of its keys verify signatures, and which key a token means.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::config::JwtAlgorithm;

/// Maximum keys of a set.
const KEYS_MAX: usize = 100;
/// Allowed bits of an RSA modulus. Longer ones cost much time per signature.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
/// Maximum bytes of an RSA exponent.
const RSA_EXPONENT_BYTES_MAX: usize = 4;

/// The keys of an issuer that verify signatures. Keys for encryption, symmetric, private, short and unknown ones are not
/// in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JwtKeySet(Vec<Key>);

/// A public key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    kid: Option<String>,
    /// Algorithms for which the key may be used.
    algorithms: Vec<JwtAlgorithm>,
    /// Digest of the key itself.
    pub(super) digest: [u8; 32],
    pub(super) decoding: DecodingKey,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        (&self.kid, &self.algorithms, &self.digest) == (&other.kid, &other.algorithms, &other.digest)
    }
}

/// Why no key verifies a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The set has no such key; a newer set may have it.
    Unknown,
    /// The set has the key id, but the key does not fit the algorithm, or several keys fit.
    Unusable,
}

impl JwtKeySet {
    /// Parses a key set. Returns `None` if the text is not a key set, or has too many keys; a key that cannot verify
    /// signatures is left out.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(text).ok()?;
        let keys = document.get("keys")?.as_array().filter(|keys| keys.len() <= KEYS_MAX)?;
        let mut keys: Vec<Key> = keys.iter().filter_map(|key| Key::parse(key.as_object()?)).collect();
        keys.sort_by(|one, other| (&one.kid, one.digest).cmp(&(&other.kid, other.digest)));
        keys.dedup();
        Some(Self(keys))
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if no key can verify signatures.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the one key that a token means. A token without key id means the only key that fits.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: JwtAlgorithm) -> Result<&Key, NoKey> {
        let named = || self.0.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        let mut fitting = named().filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (None, _) if named().next().is_none() => Err(NoKey::Unknown),
            _ => Err(NoKey::Unusable),
        }
    }

    /// True if the set has this key under this id and for this algorithm.
    pub(super) fn contains(&self, kid: Option<&str>, algorithm: JwtAlgorithm, digest: [u8; 32]) -> bool {
        let is_same = |key: &Key| key.digest == digest && (kid.is_none() || key.kid.as_deref() == kid);
        self.0.iter().any(|key| is_same(key) && key.algorithms.contains(&algorithm))
    }
}

impl Key {
    fn parse(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        // A member that is present must have the expected type and value.
        let is_unless = |name: &str, good: &dyn Fn(&Value) -> bool| jwk.get(name).is_none_or(good);
        let verifies = |operations: &Value| operations.as_array().is_some_and(|all| all.contains(&"verify".into()));
        let is_public = !jwk.contains_key("d") && !jwk.contains_key("k");
        let is_for_signatures = is_unless("use", &|own| own == "sig") && is_unless("key_ops", &verifies);
        if !is_public || !is_for_signatures || !is_unless("kid", &Value::is_string) {
            return None;
        }
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let (fitting, material, decoding) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (modulus, exponent) = (unsigned(&bytes("n")?), unsigned(&bytes("e")?));
                is_rsa_key(&modulus, &exponent).then_some(())?;
                let decoding = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
                (JwtAlgorithm::RSA, [&b"RSA"[..], &exponent, b"/", &modulus].concat(), decoding)
            }
            ("EC", Some(curve @ ("P-256" | "P-384"))) => {
                let (fitting, length): (&[_], _) =
                    if curve == "P-256" { (&[JwtAlgorithm::ES256], 32) } else { (&[JwtAlgorithm::ES384], 48) };
                let (x, y) = (bytes("x")?, bytes("y")?);
                (x.len() == length && y.len() == length).then_some(())?;
                let point = [&[4][..], &x, &y].concat();
                (fitting, [curve.as_bytes(), &point].concat(), DecodingKey::from_ec_der(&point))
            }
            ("OKP", Some("Ed25519")) => {
                let point = bytes("x").filter(|point| point.len() == 32)?;
                let decoding = DecodingKey::from_ed_der(&point);
                (&[JwtAlgorithm::EdDSA][..], [&b"Ed25519"[..], &point].concat(), decoding)
            }
            _ => return None,
        };
        let algorithms = match jwk.get("alg") {
            None => fitting.to_vec(),
            Some(own) => vec![JwtAlgorithm::named(own.as_str()?).filter(|own| fitting.contains(own))?],
        };
        let digest = Sha256::digest(&material).into();
        Some(Self { kid: text("kid").map(str::to_owned), algorithms, digest, decoding })
    }
}

/// Returns a big-endian number without leading zeros.
fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}

fn is_rsa_key(modulus: &[u8], exponent: &[u8]) -> bool {
    let bits = modulus.first().map_or(0, |first| 8 * modulus.len() - first.leading_zeros() as usize);
    let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
    let is_in_range = exponent.len() <= RSA_EXPONENT_BYTES_MAX && exponent != [1];
    RSA_BITS.contains(&bits) && is_odd && is_in_range
}

#[cfg(test)]
mod tests;
