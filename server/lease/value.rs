//! What the key of the lease contains.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Version of a gateway; a newer one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Reads `major.minor.patch`, and ignores what follows. A part that is missing or no number is 0.
    pub fn parse(text: &str) -> Self {
        let digits = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next().and_then(|part| part.parse().ok());
        let mut parts = text.splitn(3, '.').map(|part| digits(part).unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        Self(next(), next(), next())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// One run of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Its name, unique among the replicas.
    pub name: String,
    /// Where its gRPC port is reached, for operators.
    pub address: String,
    /// Drawn at random at its start: a lease of an earlier run is not its own.
    pub run: u64,
    /// Its version.
    pub version: Version,
}

/// Value of the key while the lease is held. A released lease has an empty value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseValue {
    /// The holder.
    pub replica: Replica,
    /// Number of this update among those of the run.
    pub update: u64,
}

impl LeaseValue {
    /// Returns the value as stored.
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("its fields are texts and numbers").into()
    }

    /// Reads a stored value; `None` if it is of another form.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_version_is_greater() {
        for (text, expected) in [
            ("0.1.0", Version(0, 1, 0)),
            ("1.12.3-rc.1", Version(1, 12, 3)),
            ("2", Version(2, 0, 0)),
            ("", Version(0, 0, 0)),
            ("x.1.y", Version(0, 1, 0)),
        ] {
            assert_eq!(Version::parse(text), expected, "{text}");
        }
        assert!(Version::parse("0.10.0") > Version::parse("0.9.7"));
        assert_eq!(Version(1, 2, 3).to_string(), "1.2.3");
    }

    #[test]
    fn value_is_read_as_written() {
        let replica = Replica { name: "a".into(), address: "a:50051".into(), run: u64::MAX, version: Version(1, 2, 3) };
        let value = LeaseValue { replica, update: 7 };
        assert_eq!(LeaseValue::decode(&value.encode()), Some(value));
        assert_eq!(LeaseValue::decode(b""), None);
        assert_eq!(LeaseValue::decode(b"{}"), None);
    }
}
