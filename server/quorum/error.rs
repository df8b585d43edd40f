//! Errors of the shared log, keys and messages.

use thiserror::Error;

use super::place::LogPlace;

/// No answer from the backend, or one that cannot be used. The call may be repeated.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("shared storage unavailable: {0}")]
pub struct Unavailable(pub String);

/// Failure of an append.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SharedAppendError {
    /// Not stored: the place is in use, or the log ends before it. Read the place to find out.
    #[error("shared log does not end at place {expected}")]
    Conflict {
        /// Expected end of the log.
        expected: LogPlace,
    },
    /// The message may be stored, now or later, or never. Repeat the same bytes for the same place.
    #[error("outcome of append is unknown: {0}")]
    Unknown(String),
    /// Not stored, for a reason that a repetition does not remove.
    #[error("append rejected: {0}")]
    Rejected(String),
    /// Stored at another place than expected: the backend does not compare. Nothing of it may be exposed.
    #[error("message for place {expected} is stored at {actual}; the backend does not compare places")]
    Misplaced {
        /// Place after the expected end.
        expected: LogPlace,
        /// Where it is.
        actual: LogPlace,
    },
}

/// Failure of a compare-and-set.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CompareAndSetError {
    /// Not stored: the key has another revision.
    #[error("key has another revision")]
    Conflict,
    /// The value may be stored, now or later, or never. Read the key.
    #[error("outcome of update is unknown: {0}")]
    Unknown(String),
    /// Not stored, for a reason that a repetition does not remove.
    #[error("update rejected: {0}")]
    Rejected(String),
}

/// Failure of a request to another replica.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// No replica subscribes to the subject.
    #[error("no replica answers this subject")]
    NoResponders,
    /// No answer within the limit.
    #[error("no answer in time")]
    Timeout,
    /// The request could not be sent.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
