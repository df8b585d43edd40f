//! State of the process, as far as sessions are concerned.

/// Whether the gateway serves sessions: started, drained by an operator, or stopping.
#[derive(Debug, Default)]
pub(super) struct Availability {
    pub(super) is_started: bool,
    pub(super) is_stopping: bool,
    /// Number of the drain that lasts, if one does.
    pub(super) drain: Option<u64>,
    pub(super) drains: u64,
}

impl Availability {
    pub(super) fn is_ready(&self) -> bool {
        self.is_started && !self.is_stopping && self.drain.is_none()
    }
}
