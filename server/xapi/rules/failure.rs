use thiserror::Error;

/// A rule request without an answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RuleFailure {
    /// No byte of it left: X did not count it and changed nothing.
    #[error("request not sent: {0}")]
    NotSent(String),
    /// It may have reached X.
    #[error("no answer: {0}")]
    Unanswered(String),
}
