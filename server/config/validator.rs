use std::net::IpAddr;

use url::Url;

use super::error::ConfigError;
use super::settings::Settings;

/// Longest name of a role or principal, in bytes.
const NAME_BYTES_MAX: usize = 63;
/// Fault of a name.
pub(super) const NAME: &str = "this must have 1 to 63 characters of a-z, 0-9, '-', '_' and '.'";

/// Collects violated constraints.
pub(super) struct Validator(pub(super) Vec<ConfigError>);

impl Validator {
    pub(super) fn check(&mut self, good: bool, path: impl Into<String>, text: impl Into<String>) {
        if !good {
            self.0.push(ConfigError::new(path, text));
        }
    }
}

/// True if only this machine reaches the address.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// True if a role, principal or issuer may have this name.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed)
}

/// Reports names of roles that do not exist.
pub(super) fn role_names(settings: &Settings, names: &[String], path: &str, found: &mut Validator) {
    for (n, name) in names.iter().enumerate() {
        let is_known = settings.roles.iter().any(|role| role.name == *name);
        found.check(is_known, format!("{path}[{n}]"), "no role has this name; add it to `roles`");
    }
}

/// True if a URL has no user and no password.
pub(super) fn is_bare_of_user(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}
