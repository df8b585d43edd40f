use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::describe;
use crate::proto::subscribe_response::Frame;
use crate::proto::{EventBatch, Gap, Skipped, SubscribeResponse, TimeInterval};
use crate::validator::ContractViolation;

/// Position of a subscription, as the gateway signed it: opaque, printable ASCII without spaces.
///
/// Store it where the effect of the events is, in the same transaction, and pass it to
/// [`crate::ConsumerBuilder::resume_from`] after a restart: each event then takes effect exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResumeToken(String);

impl ResumeToken {
    /// Returns the text of the token.
    #[must_use]
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
    /// Covers this delivery and everything before it; `None` if the position has not changed, or if a further delivery of the
    /// same frame has the token.
    pub token: Option<ResumeToken>,
}

/// Content of a [`Delivery`].
#[derive(Clone, Debug)]
pub enum Content {
    /// Events. If `possible_duplicate` is set, some were perhaps delivered before: process them idempotently, by `post_id`.
    Events(EventBatch),
    /// A gap of the upstream was detected or has changed, or is open at the start of a session. Posts are lost if
    /// [`Gap::is_loss`]. The same gap is delivered at each change: store it by `gap_id`.
    Gap(Gap),
    /// Posts between the requested and the actual start of a session are not delivered: they are lost for this consumer.
    Missing(TimeInterval),
    /// Messages or records that cannot be delivered: they are lost.
    Skipped(Skipped),
    /// Any other frame, for information: start of a session, heartbeat with lag and low watermark, state of the upstream, drain.
    /// Missing intervals and open gaps of a start follow as deliveries of their own.
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
    /// Returns the deliveries of a frame: the first one and the others. Only the last one has the token: it covers them all.
    pub(crate) fn split(response: SubscribeResponse) -> (Self, VecDeque<Self>) {
        let mut rest = VecDeque::new();
        let first = match response.frame {
            Some(Frame::EventBatch(batch)) => Content::Events(batch),
            Some(Frame::GapNotice(notice)) => notice.gap.map_or(Content::Unknown, Content::Gap),
            Some(Frame::Skipped(skipped)) => Content::Skipped(skipped),
            Some(Frame::SessionStart(start)) => {
                rest.extend(start.missing.iter().copied().map(Content::Missing));
                rest.extend(start.open_gaps.iter().cloned().map(Content::Gap));
                Content::Notice(Frame::SessionStart(start))
            }
            Some(frame) => Content::Notice(frame),
            None => Content::Unknown,
        };
        let mut first = Self { content: first, token: None };
        let mut rest: VecDeque<_> = rest.into_iter().map(|content| Self { content, token: None }).collect();
        let token = Some(response.resume_token).filter(|token| !token.is_empty());
        rest.back_mut().unwrap_or(&mut first).token = token.map(ResumeToken);
        (first, rest)
    }

    /// True if posts are lost for this consumer: a gap that closed incomplete, a missing interval, or skipped records.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        match &self.content {
            Content::Gap(gap) => gap.is_loss(),
            Content::Missing(_) | Content::Skipped(_) => true,
            _ => false,
        }
    }

    /// Describes the delivery for people, a line for each fact: the table "stderr" of PROTOCOL.md. Empty for events and
    /// heartbeats. A line contains no control character, whatever the gateway sends.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        match &self.content {
            Content::Events(_) | Content::Unknown => Vec::new(),
            Content::Gap(gap) => vec![describe::gap(gap)],
            Content::Missing(interval) => vec![describe::missing(interval)],
            Content::Skipped(skipped) => vec![describe::skipped(skipped)],
            Content::Notice(frame) => describe::frame(frame),
            Content::Disconnected(disconnected) => vec![describe::disconnected(disconnected)],
        }
    }
}

impl Gap {
    /// True if posts of the interval are lost for good.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        self.closed && !self.complete
    }

    /// Returns the state in words, such as `unrecoverable`.
    #[must_use]
    pub fn state_name(&self) -> String {
        describe::gap_state(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::SessionStart;

    fn tokens(frame: Frame) -> Vec<(String, Option<ResumeToken>)> {
        let (first, rest) = Delivery::split(SubscribeResponse { frame: Some(frame), resume_token: "t".into() });
        let kind = |delivery: &Delivery| match &delivery.content {
            Content::Gap(gap) => format!("gap {}", gap.is_loss()),
            Content::Missing(_) => "missing".into(),
            Content::Skipped(_) => "skipped".into(),
            Content::Notice(_) => "notice".into(),
            other => format!("{other:?}"),
        };
        std::iter::once(&first).chain(&rest).map(|delivery| (kind(delivery), delivery.token.clone())).collect()
    }

    /// A consumer that is killed after the first delivery of a start receives the others again.
    #[test]
    fn last_delivery_of_start_has_token() {
        let token = Some(ResumeToken::from("t"));
        let lost = Gap { closed: true, ..Gap::default() };
        let start = SessionStart {
            missing: vec![TimeInterval::default()],
            open_gaps: vec![Gap::default(), lost],
            ..SessionStart::default()
        };
        let expected = [("notice", None), ("missing", None), ("gap false", None), ("gap true", token.clone())];
        assert_eq!(tokens(Frame::SessionStart(start)), expected.map(|(kind, token)| (kind.to_owned(), token)));
        assert_eq!(tokens(Frame::SessionStart(SessionStart::default())), [("notice".to_owned(), token.clone())]);
        assert_eq!(tokens(Frame::Skipped(Skipped::default())), [("skipped".to_owned(), token)]);
    }
}
