//! What a value on the stream means: a post, a word of X about the stream, or neither.
//!
//! X's names of JSON fields are known here. A post is read as far as its id and its rules, borrowed from the payload,
//! which stays byte for byte as it came. Whatever has an id of its own is a post, however odd its shape; a post in another
//! format is [`UpstreamMessage::ForeignFormat`]; whatever else is JSON and is not known is [`UpstreamMessage::Unknown`], for new kinds may appear
//! at any time (F-CSD).

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
    /// Something that X says about the stream.
    Control(ControlMessage),
    /// A post in another format, or a compliance message: nothing that a subscriber can get.
    Foreign {
        /// What it is.
        kind: ForeignFormat,
        /// Its length.
        bytes: u64,
        /// True if it is the first of its kind on its connection.
        first: bool,
    },
    /// A JSON object of no known kind.
    Unknown {
        /// Its length.
        bytes: u64,
    },
    /// No JSON object, or a post without an id.
    Malformed {
        /// Its length.
        bytes: u64,
    },
    /// A message longer than allowed, or a post under more rules, or with a longer tag.
    Oversized {
        /// Its length.
        bytes: u64,
    },
}

/// A post as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPost {
    /// Its id.
    pub id: PostId,
    /// The rules that matched, in order.
    pub rules: Vec<Rule>,
    /// True if the post has no list of matching rules at all.
    pub rules_missing: bool,
    /// The payload.
    pub json: Bytes,
}

impl UpstreamMessage {
    /// Tells what a value is. It has to be valid UTF-8, as [`super::framing::Framed::Value`] is.
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

    /// A post with more rules than this, or with a tag that no filter can name, is [`UpstreamMessage::Oversized`]. X allows neither,
    /// and the gateway leaves no rule out in silence.
    pub fn bounded(self, post_rules_max: usize) -> Self {
        let is_long = |rule: &Rule| rule.tag.as_ref().is_some_and(|tag| tag.len() > Rule::TAG_BYTES_MAX);
        match self {
            Self::Post(post) if post.rules.len() > post_rules_max || post.rules.iter().any(is_long) => {
                Self::Oversized { bytes: post.json.len() as u64 }
            }
            other => other,
        }
    }

    /// Tells what an object is that has no id, or one that is none.
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

    /// Tells what a line that is no JSON is: X may say in plain text why it ends a stream.
    pub fn classify_text(text: &[u8], bytes: u64) -> Self {
        match control::read_text(&String::from_utf8_lossy(text)) {
            Some(control) => Self::Control(control),
            None => Self::Malformed { bytes },
        }
    }
}

#[cfg(test)]
mod tests;
