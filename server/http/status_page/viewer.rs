//! Viewers of the page: their credentials, and what each may see.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::access::{AuthError, Grant, Right};
use crate::gateway::Gateway;
use crate::model::AccountName;

/// Accounts that a viewer may see, with the visible tags of each. Viewers with equal ones share snapshots.
pub(super) type VisibleAccounts = Vec<(AccountName, Grant)>;

/// Returns the accounts on which these grants have the right `status`, in order.
pub(super) fn visible(gateway: &Gateway, grant: impl Fn(&AccountName) -> Grant) -> VisibleAccounts {
    let granted = gateway.names().into_iter().map(|name| {
        let grant = grant(&name);
        (name, grant)
    });
    granted.filter(|(_, grant)| grant.allows(Right::Status)).collect()
}

/// The credential of a request, as headers of a call.
#[derive(Debug, PartialEq)]
pub(super) struct OfferedCredential {
    /// With the credential as bearer token.
    pub(super) headers: HeaderMap,
    /// It came as the password of HTTP Basic, which browsers send.
    pub(super) is_basic: bool,
}

/// Returns the credential of a request. A browser can sign in with HTTP Basic only: the password is the token.
pub(super) fn offered(headers: &HeaderMap) -> Result<OfferedCredential, AuthError> {
    let mut own = HeaderMap::new();
    let values: Vec<&HeaderValue> = headers.get_all(AUTHORIZATION).iter().collect();
    let basic = match values.as_slice() {
        [value] => value.to_str().ok().and_then(|text| text.split_once(' ')),
        _ => None,
    };
    let basic = basic.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let Some((_, encoded)) = basic else {
        for value in values {
            own.append(AUTHORIZATION, value.clone());
        }
        return Ok(OfferedCredential { headers: own, is_basic: false });
    };
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| AuthError::Invalid)?;
    let text = std::str::from_utf8(&decoded).map_err(|_| AuthError::Invalid)?;
    let (_user, token) = text.split_once(':').ok_or(AuthError::Invalid)?;
    let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| AuthError::Invalid)?;
    bearer.set_sensitive(true);
    own.append(AUTHORIZATION, bearer);
    Ok(OfferedCredential { headers: own, is_basic: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn password_is_bearer_token() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let bearer = OfferedCredential { headers: headers(&["Bearer t0k:en"]), is_basic: true };
        assert_eq!(offered(&headers(&[&basic("anyone:t0k:en")])), Ok(bearer));
        let others: [&[&str]; 5] = [&[], &["Bearer abc"], &["Bearer abc", "Basic eDp5"], &["Digest x"], &["Basic"]];
        for untouched in others {
            let own = OfferedCredential { headers: headers(untouched), is_basic: false };
            assert_eq!(offered(&headers(untouched)), Ok(own), "{untouched:?}");
        }
        for bad in [
            "Basic !",
            "Basic ",
            &basic("no-colon"),
            &basic("user:line\nbreak"),
            &format!("Basic {}", STANDARD.encode([255, b':'])),
        ] {
            assert_eq!(offered(&headers(&[bad])), Err(AuthError::Invalid), "{bad}");
        }
    }
}
