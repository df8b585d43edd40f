//! Delivery phase of a session.

/// Source of the posts of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The log, before its tip.
    Replay,
    /// The tip of the log.
    Live,
    /// The side log: posts of a private gap.
    Recovery,
}
