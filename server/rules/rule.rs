use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::UnixMillis;
use crate::xapi::RuleId;

/// Name of a wanted rule: the set that contains it, and its name there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleName {
    /// Name of the set.
    pub set: String,
    /// Name in the set.
    pub name: String,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.set, self.name)
    }
}

/// A rule that a set wants at X.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedRule {
    /// Name, unique in its set. A value that changes under one name replaces the earlier one.
    pub name: String,
    /// Text of the rule.
    pub value: String,
    /// Tag of the rule at X.
    pub tag: String,
    /// Note for people; not sent to X.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A rule at X, as far as the gateway knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRule {
    /// Id; `None` if X did not name it.
    pub id: Option<RuleId>,
    /// Text as X has it.
    pub value: String,
    /// Text as it was sent, if X changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_value: Option<String>,
    /// Tag as X has it.
    pub tag: Option<String>,
    /// Wanted rule that it stands for; `None`: it is in no set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<RuleName>,
    /// When X acknowledged it; `None` if it was found at X.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_time: Option<UnixMillis>,
    /// When the gateway first knew of it.
    pub first_known_time: UnixMillis,
}

impl KnownRule {
    /// True if this rule and a wanted text mean the same.
    pub fn means(&self, value: &str) -> bool {
        let wanted = meaning(value);
        meaning(&self.value) == wanted || self.sent_value.as_deref().is_some_and(|sent| meaning(sent) == wanted)
    }
}

/// Length of a text as X counts it: UTF-16 code units.
pub fn utf16_len(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Returns a rule's text without outer spaces and outer parentheses, which do not change its meaning. X compares texts as
/// they are; the planner uses that to give an unchanged rule another tag before the earlier one is deleted.
pub fn meaning(value: &str) -> &str {
    let mut text = value.trim();
    while let Some(inner) = without_parentheses(text) {
        text = inner;
    }
    text
}

/// Returns the content of parentheses around the whole text; `None` if there are none, or if they are empty.
fn without_parentheses(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in inner.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            // The first parenthesis ends before the last character.
            b')' if !quoted => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    let inner = inner.trim();
    (depth == 0 && !quoted && !escaped && !inner.is_empty()).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outer_parentheses_and_spaces_mean_nothing() {
        for (value, expected) in [
            ("cat", "cat"),
            (" cat ", "cat"),
            ("(cat OR dog)", "cat OR dog"),
            ("(( cat ))", "cat"),
            ("(cat) (dog)", "(cat) (dog)"),
            ("(a OR b) -c", "(a OR b) -c"),
            ("(\"a)\" b)", "\"a)\" b"),
            ("(\"a\\\")\" b)", "\"a\\\")\" b"),
            ("()", "()"),
            ("( )", "( )"),
            ("(a", "(a"),
            ("(a)b)", "(a)b)"),
            ("(\"a)", "(\"a)"),
            ("", ""),
        ] {
            assert_eq!(meaning(value), expected, "{value}");
        }
        assert_eq!(utf16_len("a🍕"), 3);
    }
}
