//! Checksum over the whole shared log: a message proves which messages precede it.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::place::Subject;

/// First 128 bits of SHA-256 over the chain before a message, its subject and its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chain(pub [u8; 16]);

impl Chain {
    /// Before the first message.
    pub const START: Self = Self([0; 16]);

    /// Returns the chain after this message.
    pub fn after(self, subject: Subject, payload: &[u8]) -> Self {
        let subject = match subject {
            Subject::Log => 0_u8,
            Subject::Side => 1,
            Subject::Checkpoint => 2,
        };
        let digest = Sha256::new().chain_update(self.0).chain_update([subject]).chain_update(payload).finalize();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        Self(first)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Chain {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(|value| Self(value.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_depends_on_order_subject_and_bytes() {
        let chain = |messages: &[(Subject, &str)]| {
            messages.iter().fold(Chain::START, |chain, (subject, text)| chain.after(*subject, text.as_bytes()))
        };
        let (one, two) = ((Subject::Log, "one"), (Subject::Log, "two"));
        let all = [
            chain(&[one, two]),
            chain(&[two, one]),
            chain(&[one, (Subject::Side, "two")]),
            chain(&[one]),
            Chain::START,
        ];
        for (at, own) in all.iter().enumerate() {
            assert!(!all[..at].contains(own), "{at}");
            assert_eq!(own.to_string().parse(), Ok(*own));
        }
        // Written in headers of stored messages: it must not change.
        assert_eq!(chain(&[one]).to_string(), "033c2897d056ca2c2b97107fb5c654ae");
    }
}
