//! Verifies a JWT by the settings and keys of its issuer, at a given time. Pure.
//!
//! The library checks the signature, with exactly the one algorithm of the token that fits the key. Claims are checked
//! here: by default the library accepts absent claims, and it reads the system's time itself.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Validation;
use serde::de::IgnoredAny;

use super::claims::{Claims, UnverifiedToken};
use super::config::{JwtAlgorithm, JwtConfig};
use super::key_set::{JwtKeySet, NoKey};
use crate::model::{TagPattern, UnixMillis};

/// Allowed difference between the clocks of issuer and gateway.
const LEEWAY: Duration = Duration::from_secs(30);
/// Maximum tag patterns of a token: each is compared with each pattern of each role.
const PATTERNS_MAX: usize = 100;

/// A verified token: what the gateway keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Name of the issuer in the configuration.
    pub issuer: Arc<str>,
    /// Id of the signing key.
    pub kid: Option<Arc<str>>,
    /// Digest of the signing key.
    pub key: [u8; 32],
    /// Algorithm of the signature.
    pub algorithm: JwtAlgorithm,
    /// End of validity, with the leeway.
    pub not_after: UnixMillis,
    /// Claims.
    pub claims: Claims,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtError {
    /// It is not valid, for this reason. Clients never learn the reason.
    Invalid(&'static str),
    /// It was valid until recently.
    Expired,
    /// The key set of its issuer does not have its key.
    KeyUnknown,
    /// The keys of its issuer are not available.
    KeysUnavailable,
}

/// Verifies a token of this issuer.
pub(super) fn verify(
    token: UnverifiedToken<'_>,
    issuer: &JwtConfig,
    keys: &JwtKeySet,
    now: UnixMillis,
) -> Result<VerifiedToken, JwtError> {
    let algorithm = algorithm(&token, issuer)?;
    let key = keys.find(token.kid.as_deref(), algorithm).map_err(|none| match none {
        NoKey::Unknown => JwtError::KeyUnknown,
        NoKey::Unusable => JwtError::Invalid("no single key fits"),
    })?;
    let mut validation = Validation::new(algorithm.of_library());
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[&issuer.issuer]);
    validation.set_audience(&issuer.audiences);
    // The library would use the system's time, and not the one that is passed here.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let verified = jsonwebtoken::decode::<IgnoredAny>(token.text, &key.decoding, &validation);
    verified.map_err(|_| JwtError::Invalid("signature or registered claims"))?;
    let claims = token.claims;
    refusal(&claims, issuer).map_or(Ok(()), |cause| Err(JwtError::Invalid(cause)))?;
    let not_after = check_time(&claims, now)?;
    let (issuer, kid) = (issuer.name.as_str().into(), token.kid.map(Arc::from));
    Ok(VerifiedToken { issuer, kid, key: key.digest, algorithm, not_after, claims })
}

/// Returns the algorithm of a token, if its issuer uses that one.
pub(super) fn algorithm(token: &UnverifiedToken<'_>, issuer: &JwtConfig) -> Result<JwtAlgorithm, JwtError> {
    let named = JwtAlgorithm::named(&token.algorithm).filter(|named| issuer.algorithms.contains(named));
    named.ok_or(JwtError::Invalid("algorithm not accepted"))
}

/// Returns why claims do not fit the settings of an issuer. Running sessions are checked by it again when the settings
/// change.
pub(super) fn refusal(claims: &Claims, issuer: &JwtConfig) -> Option<&'static str> {
    let Claims { expires, issued, .. } = *claims;
    let has_audience = issuer.audiences.iter().any(|own| claims.contains("aud", own));
    let lifetime_max = issuer.lifetime_max.as_secs();
    let is_long = lifetime_max > 0 && issued.is_none_or(|issued| expires.saturating_sub(issued) > lifetime_max);
    match () {
        () if *claims.issuer != *issuer.issuer => Some("other issuer"),
        () if !has_audience => Some("other audience"),
        () if is_long => Some("lifetime too long or unknown"),
        () if patterns(claims, issuer).is_err() => Some("malformed tags claim"),
        () => None,
    }
}

/// Checks `exp`, `nbf` and `iat` with the leeway. Returns the end of validity.
fn check_time(claims: &Claims, now: UnixMillis) -> Result<UnixMillis, JwtError> {
    let time = |seconds: u64| UnixMillis(0).plus(Duration::from_secs(seconds));
    let not_after = time(claims.expires).plus(LEEWAY);
    let is_ahead = |seconds: Option<u64>| seconds.is_some_and(|seconds| time(seconds) > now.plus(LEEWAY));
    if is_ahead(claims.not_before) || is_ahead(claims.issued) {
        return Err(JwtError::Invalid("not valid yet"));
    }
    if not_after <= now { Err(JwtError::Expired) } else { Ok(not_after) }
}

/// Returns the patterns to which a token is narrowed; `None`: it is not. Without the claim that the issuer's tokens must
/// have, there is no pattern, and no post is visible.
pub(super) fn patterns(claims: &Claims, issuer: &JwtConfig) -> Result<Option<Vec<TagPattern>>, TooManyPatterns> {
    let Some(name) = &issuer.tags_claim else { return Ok(None) };
    let texts = claims.texts(name).unwrap_or_default();
    if texts.len() > PATTERNS_MAX {
        return Err(TooManyPatterns);
    }
    Ok(Some(texts.iter().map(|text| TagPattern::parse(text)).collect()))
}

/// A token has too many tag patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyPatterns;

#[cfg(test)]
mod tests;
