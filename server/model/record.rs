use std::sync::Arc;

use super::{Gap, Post, Rule, Sequence, Term, TimeInterval, UnixMillis};

/// An entry of an account's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub sequence: Sequence,
    /// The writer that made it.
    pub term: Term,
    /// When the gateway received what it tells; never before the record in front of it.
    pub received: UnixMillis,
    /// What it tells.
    pub body: RecordBody,
}

/// What a record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordBody {
    /// A post, seen for the first time.
    Post(Post),
    /// A post that was logged before, matched by rules that it had not then. The post carries the rules of all arrivals.
    Delta {
        /// The rules logged before.
        prior: Arc<[Rule]>,
        /// The post as it arrived now.
        post: Post,
    },
    /// A gap began, changed or ended.
    Gap(Gap),
    /// Messages that could not be taken.
    Skip(Skip),
    /// A new writer; the first record of its term.
    Term,
}

impl RecordBody {
    /// The post that a POST or DELTA carries.
    pub fn post(&self) -> Option<&Post> {
        match self {
            Self::Post(post) | Self::Delta { post, .. } => Some(post),
            Self::Gap(_) | Self::Skip(_) | Self::Term => None,
        }
    }
}

/// Messages that could not be taken, of one second and one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Why.
    pub reason: SkipReason,
    /// How many.
    pub count: u64,
    /// When they came.
    pub window: TimeInterval,
}

/// Why a message could not be taken, or a record not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// Not valid JSON, invalid UTF-8, nested too deeply, or a post without an id.
    Malformed,
    /// Longer than the limit for a message.
    Oversized,
    /// This part of the journal is damaged.
    JournalCorrupt,
    /// A post in another format (Activity Streams, the v2 shape) or a compliance message.
    ForeignFormat,
}
