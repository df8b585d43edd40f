//! Classification of a value of the stream: a post, a control message of X, or neither.
//!
//! X's JSON field names are known only here. A post is parsed up to its id and rules, borrowed from the payload, which
//! stays unchanged. Every object with an id of its own is a post, whatever its other fields. A post in another format
//! is [`UpstreamMessage::Foreign`]. Any other JSON is [`UpstreamMessage::Unknown`], because new kinds may appear at any
//! time (F-CSD).

mod control;
mod foreign;
mod post;
mod time;

use bytes::Bytes;
use serde_json::Value;

pub use control::{ControlMessage, NEARLY_FULL_PERCENT, RecoveryResult, StreamErrorKind};
pub use foreign::ForeignFormat;

use crate::model::{PostId, Rule};

/// A message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamMessage {
    /// A post.
    Post(UpstreamPost),
    /// A control message of X.
    Control(ControlMessage),
    /// A post in another format, or a compliance message: not delivered to subscribers.
    Foreign {
        /// Its kind.
        kind: ForeignFormat,
        /// Its length.
        bytes: u64,
        /// True if it is the first of its kind on its connection.
        first: bool,
    },
    /// A JSON object of unknown kind.
    Unknown {
        /// Its length.
        bytes: u64,
    },
    /// No JSON object, or a post without an id.
    Malformed {
        /// Its length.
        bytes: u64,
    },
    /// A message, a tag or a number of rules above the limit.
    Oversized {
        /// Its length.
        bytes: u64,
    },
}

/// A post as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPost {
    /// Its id.
    pub id: PostId,
    /// The rules that matched, in order.
    pub rules: Vec<Rule>,
    /// True if the post has no list of matching rules.
    pub rules_missing: bool,
    /// The payload.
    pub json: Bytes,
}

impl UpstreamMessage {
    /// Classifies a value. It must be valid UTF-8, like [`super::framing::Framed::Value`].
    pub fn classify(value: Bytes) -> Self {
        let bytes = value.len() as u64;
        match post::read(&value) {
            Ok(post::RootKind::Post { id, rules, rules_missing }) => {
                Self::Post(UpstreamPost { id, rules, rules_missing, json: value })
            }
            Ok(root) => Self::other(&value, bytes, matches!(root, post::RootKind::BadId)),
            Err(_) => Self::Malformed { bytes },
        }
    }

    /// Turns a post with more rules than this, or with a longer tag than a filter can name, into
    /// [`UpstreamMessage::Oversized`]. X allows neither, and the gateway never omits a rule silently.
    pub fn bounded(self, post_rules_max: usize) -> Self {
        let is_long = |rule: &Rule| rule.tag.as_ref().is_some_and(|tag| tag.len() > Rule::TAG_BYTES_MAX);
        match self {
            Self::Post(post) if post.rules.len() > post_rules_max || post.rules.iter().any(is_long) => {
                Self::Oversized { bytes: post.json.len() as u64 }
            }
            other => other,
        }
    }

    /// Classifies an object without an id, or with an invalid one.
    fn other(value: &[u8], bytes: u64, bad_id: bool) -> Self {
        let Ok(Value::Object(root)) = serde_json::from_slice(value) else { return Self::Malformed { bytes } };
        let foreign = |kind| Self::Foreign { kind, bytes, first: false };
        if let Some(kind) = foreign::read(&root) {
            foreign(kind)
        } else if bad_id || foreign::is_post(&root) {
            Self::Malformed { bytes }
        } else if let Some(control) = control::read(&root) {
            Self::Control(control)
        } else if foreign::is_envelope(&root) {
            foreign(ForeignFormat::Envelope)
        } else {
            Self::Unknown { bytes }
        }
    }

    /// Classifies a line that is not JSON: X may explain the end of a stream in plain text.
    pub fn classify_text(text: &[u8], bytes: u64) -> Self {
        match control::read_text(&String::from_utf8_lossy(text)) {
            Some(control) => Self::Control(control),
            None => Self::Malformed { bytes },
        }
    }
}

#[cfg(test)]
mod tests;
