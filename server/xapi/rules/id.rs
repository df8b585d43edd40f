use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Id of a rule, as the digits that X sends. X documents no type: its API has ids as text, its older API as numbers of
/// 64 bits, which a floating-point number rounds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuleId(String);

/// A text that is no id of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid rule id: expected 1 to 20 digits")]
pub struct RuleIdError;

impl RuleId {
    /// Maximum digits: those of a number of 64 bits.
    const DIGITS_MAX: usize = 20;

    /// Returns the id of these digits.
    pub fn new(digits: &str) -> Result<Self, RuleIdError> {
        let valid = (1..=Self::DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if valid { Ok(Self(digits.to_owned())) } else { Err(RuleIdError) }
    }

    /// Reads an id of a JSON document: text or number. A number that needed rounding is no id.
    pub(super) fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::new(text).ok(),
            Value::Number(number) => number.as_u64().and_then(|id| Self::new(&id.to_string()).ok()),
            _ => None,
        }
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RuleId {
    type Error = RuleIdError;

    fn try_from(text: String) -> Result<Self, RuleIdError> {
        Self::new(&text)
    }
}

impl From<RuleId> for String {
    fn from(id: RuleId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_digits_and_never_rounded() {
        let read = |value: &Value| RuleId::read(value).map(String::from);
        for digits in ["1", "9007199254740993", "734861971116285952", "18446744073709551615"] {
            assert_eq!(read(&json!(digits)).as_deref(), Some(digits));
            let number: Value = serde_json::from_str(digits).expect("JSON");
            assert_eq!(read(&number).as_deref(), Some(digits));
        }
        for other in ["18446744073709551616", "1e3", "-1", "1.0", "null", "\"\"", "\"1a\"", "[1]"] {
            let value: Value = serde_json::from_str(other).expect("JSON");
            assert_eq!(read(&value), None, "{other}");
        }
        assert!(serde_json::from_str::<RuleId>("\"x\"").is_err());
    }
}
