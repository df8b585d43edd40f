use std::net::IpAddr;

use super::error::ConfigError;

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
