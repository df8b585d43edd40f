//! What a value on the stream means: a post, a word of X about the stream, or neither.
//!
//! X's names of JSON fields are known here. A post is read as far as its id and its rules, borrowed from the payload,
//! which stays byte for byte as it came. Whatever has an id of its own is a post, however odd its shape; whatever is
//! JSON and is not known is [`Message::Unknown`], for new kinds may appear at any time (F-CSD).

mod control;
mod post;

use bytes::Bytes;

pub use control::{Control, Fault, Info, Side};

use crate::model::{PostId, Rule, UnixMillis};

/// A message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A post.
    Post(Arrived),
    /// Something that X says about the stream.
    Control(Control),
    /// Something about a post or a user that is no post: compliance messages.
    Side(Side),
    /// A JSON object of no known kind.
    Unknown {
        /// Its length.
        bytes: u64,
    },
    /// No JSON object, or a post whose id is no id.
    Malformed {
        /// Its length.
        bytes: u64,
    },
    /// A message longer than allowed.
    Oversized {
        /// Its length.
        bytes: u64,
    },
}

/// A post as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its id.
    pub id: PostId,
    /// The rules that matched, in order.
    pub rules: Vec<Rule>,
    /// True if the post has no list of matching rules at all.
    pub rules_missing: bool,
    /// The payload.
    pub json: Bytes,
}

impl Message {
    /// Tells what a value is. It has to be valid UTF-8, as [`super::framing::Framed::Value`] is.
    pub fn classify(value: Bytes) -> Self {
        let bytes = value.len() as u64;
        match post::read(&value) {
            Err(_) | Ok(post::Root::BadId) => Self::Malformed { bytes },
            Ok(post::Root::Post { id, rules, rules_missing }) => {
                Self::Post(Arrived { id, rules, rules_missing, json: value })
            }
            Ok(post::Root::NoPost) => control::read(&value).unwrap_or(Self::Unknown { bytes }),
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

/// An RFC 3339 time, as X's recovery messages have them.
fn time(text: &str) -> Option<UnixMillis> {
    text.parse::<jiff::Timestamp>().ok().map(|time| UnixMillis(time.as_millisecond()))
}

#[cfg(test)]
mod tests;
