use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Name of an account: `[a-z0-9-]{1,63}`. It is the name of a directory and a metric label, hence the narrow format.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(Arc<str>);

/// An invalid account name.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("invalid account name {0:?}; expected 1 to 63 characters of a-z, 0-9 and '-'")]
pub struct AccountNameError(String);

impl AccountName {
    /// Maximum bytes of a name: those of a DNS label.
    pub const BYTES_MAX: usize = 63;

    /// Validates a name.
    pub fn new(name: &str) -> Result<Self, AccountNameError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > Self::BYTES_MAX || !name.bytes().all(allowed) {
            return Err(AccountNameError(name.chars().take(80).collect()));
        }
        Ok(Self(name.into()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_narrow() {
        for good in ["a", "main", "eu-1", &"a".repeat(63)] {
            assert!(AccountName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Main", "a_b", "a/b", "..", "ä", &"a".repeat(64)] {
            assert!(AccountName::new(bad).is_err(), "{bad}");
        }
    }
}
