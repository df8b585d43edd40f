use std::sync::Arc;

use super::{Gap, Post, Rule, RulesChange, Sequence, Term, TimeInterval, UnixMillis};

/// An entry of an account's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Sequence of the record.
    pub sequence: Sequence,
    /// Writer of the record.
    pub term: Term,
    /// When the gateway received the content; never before the preceding record.
    pub received: UnixMillis,
    /// Content.
    pub body: RecordBody,
}

/// Content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordBody {
    /// A post logged for the first time.
    Post(Post),
    /// A post that was logged before, matched by additional rules. The post has the rules of all arrivals.
    Delta {
        /// Rules logged before.
        prior: Arc<[Rule]>,
        /// The post as received now.
        post: Post,
    },
    /// A gap was opened, changed or closed.
    Gap(Gap),
    /// Messages that could not be processed.
    Skip(Skip),
    /// A new writer; the first record of its term.
    Term,
    /// The rules of the account changed at X.
    Rules(Arc<RulesChange>),
}

impl RecordBody {
    /// Returns the post of a POST or DELTA.
    pub fn post(&self) -> Option<&Post> {
        match self {
            Self::Post(post) | Self::Delta { post, .. } => Some(post),
            Self::Gap(_) | Self::Skip(_) | Self::Term | Self::Rules(_) => None,
        }
    }

    /// Returns true if every session receives it, whatever its filter.
    pub fn is_notice(&self) -> bool {
        matches!(self, Self::Gap(_) | Self::Skip(_) | Self::Rules(_))
    }
}

/// Skipped messages of one second and one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Reason.
    pub reason: SkipReason,
    /// Number of messages.
    pub count: u64,
    /// When they were received.
    pub window: TimeInterval,
}

/// Why a message could not be processed, or a record not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// Not valid JSON, invalid UTF-8, nested too deeply, or a post without an id.
    Malformed,
    /// Longer than the limit of a message.
    Oversized,
    /// Records in a damaged part of the journal.
    JournalCorrupt,
    /// A post in another format (Activity Streams, the v2 shape) or a compliance message.
    ForeignFormat,
}
