//! Delivery phase of a session.

/// Where the posts of a batch come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The log, before its tip.
    Replay,
    /// The tip of the log.
    Live,
    /// The side log: what only this subscription lacks.
    Recovery,
}
