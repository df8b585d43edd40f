use std::fmt;
use std::time::Duration;

use crate::describe;
use crate::proto::subscribe_response::Frame;
use crate::proto::{EventBatch, Gap, SubscribeResponse};
use crate::validator::ContractViolation;

/// Position of a subscription, as the gateway signed it: opaque, printable ASCII without spaces.
///
/// Store it where the effect of the events is, in the same transaction, and pass it to
/// [`crate::ConsumerBuilder::resume_from`] after a restart: each event then takes effect exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResumeToken(String);

impl ResumeToken {
    /// Returns the text of the token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ResumeToken {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for ResumeToken {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Result of [`crate::Consumer::next`].
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What was delivered.
    pub content: Content,
    /// Covers this delivery and everything before it; `None` if the position has not changed.
    pub token: Option<ResumeToken>,
}

/// Content of a [`Delivery`].
#[derive(Clone, Debug)]
pub enum Content {
    /// Events. If `possible_duplicate` is set, some were perhaps delivered before: process them idempotently, by `post_id`.
    Events(EventBatch),
    /// A gap of the upstream was detected or has changed. Posts are lost if it is `closed` and not `complete`.
    Gap(Gap),
    /// Any other frame, for information: start of a session, heartbeat, skipped records, state of the upstream, drain.
    Notice(Frame),
    /// A frame of a kind that this version does not know. It contains no event: those need a capability.
    Unknown,
    /// The session ended, or could not be opened. The next call waits and reconnects.
    Disconnected(Disconnected),
}

/// A session that ended, or could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnected {
    /// Cause, for people.
    pub cause: String,
    /// The violation of the delivery contract, if that was the cause.
    pub violation: Option<ContractViolation>,
    /// Delay before the next attempt.
    pub retry_in: Duration,
}

impl Delivery {
    /// Describes the delivery for people, a line for each fact: the table "stderr" of PROTOCOL.md. Empty for events and
    /// heartbeats. A line contains no control character, whatever the gateway sends.
    pub fn describe(&self) -> Vec<String> {
        match &self.content {
            Content::Events(_) | Content::Unknown => Vec::new(),
            Content::Gap(gap) => vec![describe::gap(gap)],
            Content::Notice(frame) => describe::frame(frame),
            Content::Disconnected(disconnected) => vec![describe::disconnected(disconnected)],
        }
    }
}

impl From<SubscribeResponse> for Delivery {
    fn from(response: SubscribeResponse) -> Self {
        let content = match response.frame {
            Some(Frame::EventBatch(batch)) => Content::Events(batch),
            Some(Frame::GapNotice(notice)) => notice.gap.map_or(Content::Unknown, Content::Gap),
            Some(frame) => Content::Notice(frame),
            None => Content::Unknown,
        };
        let token = Some(response.resume_token).filter(|token| !token.is_empty());
        Self { content, token: token.map(ResumeToken) }
    }
}
