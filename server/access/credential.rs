//! Credentials of a call: what the client offers, and what the gateway knows of it once it is accepted.

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use thiserror::Error;

use super::certificate::CertificateSerial;
use super::jwt::VerifiedToken;
use crate::model::UnixMillis;

/// Maximum bytes of an `authorization` header.
pub const HEADER_BYTES_MAX: usize = 8 << 10;

/// How a client authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// None.
    Anonymous,
    /// A bearer token of a token file.
    Token,
    /// A client certificate.
    Certificate,
    /// A JSON Web Token.
    Jwt,
}

/// An accepted credential, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Kind.
    pub kind: CredentialKind,
    /// Public id: the id of a token, the name in a certificate, the principal of a JWT. Empty for anonymous callers.
    pub id: Arc<str>,
    /// Digest that the gateway knew when it accepted the credential: another entry of the same id is another one.
    pub digest: [u8; 32],
    /// Name of the principal; empty for anonymous callers.
    pub principal: Arc<str>,
    /// End of its validity, in the time of the system's clock.
    pub not_after: Option<UnixMillis>,
    /// The verified claims of a JWT: new settings or keys may classify them differently.
    pub jwt: Option<Arc<VerifiedToken>>,
    /// Issuer and serial number of a certificate.
    pub serial: Option<Arc<CertificateSerial>>,
}

impl CredentialKind {
    /// Returns a short name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Token => "token",
            Self::Certificate => "certificate",
            Self::Jwt => "jwt",
        }
    }
}

impl Credential {
    /// The credential of callers that offer none.
    pub fn anonymous() -> Self {
        let (id, principal): (Arc<str>, Arc<str>) = ("".into(), "".into());
        Self {
            kind: CredentialKind::Anonymous,
            id,
            digest: [0; 32],
            principal,
            not_after: None,
            jwt: None,
            serial: None,
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            CredentialKind::Anonymous => f.write_str("anonymous"),
            CredentialKind::Token => write!(f, "token {}", self.id),
            CredentialKind::Certificate => write!(f, "certificate {}", self.id),
            CredentialKind::Jwt => write!(f, "JWT {}", self.id),
        }
    }
}

/// Why a call is not authenticated.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AuthError {
    /// No credential, where one is needed.
    #[error(
        "credentials are required; send the header `authorization: Bearer TOKEN`, or a client certificate over TLS"
    )]
    Missing,
    /// The credential is malformed or unknown: the same text for both, so that it reveals nothing.
    #[error("credentials are not valid; check the token of this client, or ask the operator for a new one")]
    Invalid,
    /// A JWT names a key that its issuer's key set does not have: for the client the same as [`AuthError::Invalid`].
    #[error("{}", Self::Invalid)]
    KeyUnknown,
    /// The keys that verify a JWT are not available, which is not the client's fault.
    #[error("keys of the token's issuer are not available; retry later")]
    Unavailable,
    /// The credential was valid until recently.
    #[error("credentials have expired; obtain new ones, then resume")]
    Expired,
}

/// Returns the bearer token of a call, if it offers one. A header that is not exactly one bearer token is an error: the
/// call is refused, never authenticated in another way.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.len() > HEADER_BYTES_MAX {
        return Err(AuthError::Invalid);
    }
    let text = value.to_str().map_err(|_| AuthError::Invalid)?;
    let (scheme, token) = text.split_once(' ').ok_or(AuthError::Invalid)?;
    let token = token.trim_matches(' ');
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if scheme.eq_ignore_ascii_case("bearer") && is_token { Ok(Some(token)) } else { Err(AuthError::Invalid) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).expect("bytes of a header"));
        }
        headers
    }

    #[test]
    fn bearer_header_is_read_or_refused() {
        assert_eq!(bearer(&headers(&[])), Ok(None));
        for good in ["Bearer abc", "bearer abc", "BEARER  abc", "Bearer abc "] {
            assert_eq!(bearer(&headers(&[good.as_bytes()])), Ok(Some("abc")), "{good}");
        }
        let long = [b"Bearer ", "x".repeat(HEADER_BYTES_MAX).as_bytes()].concat();
        let refused: [&[&[u8]]; 9] = [
            &[b"Bearer abc", b"Bearer abc"],
            &[b"Bearer abc", b"Basic eDp5"],
            &[b"Basic eDp5"],
            &[b"Bearer"],
            &[b"Bearer "],
            &[b"abc"],
            &["Bearer caf\u{e9}".as_bytes()],
            &[b"Bearer a b"],
            &[&long],
        ];
        for values in refused {
            assert_eq!(bearer(&headers(values)), Err(AuthError::Invalid), "{values:?}");
        }
    }
}
