//! Operations: the work that leads from the known rules to the wanted ones, persisted before each request.

use serde::{Deserialize, Serialize};

use super::planner::Step;
use crate::model::UnixMillis;

/// Id of an operation, unique within the account.
pub type OperationId = u64;

/// State of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// It waits: changes are gathered, or the budget is exhausted.
    Waiting,
    /// Requests are being made.
    Running,
    /// X has what was wanted, except for what it rejected.
    Succeeded,
    /// It stopped; the error is the reason.
    Failed,
    /// A caller cancelled it.
    Cancelled,
}

impl OperationState {
    /// Returns the name for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// True if nothing more happens.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// An operation. Changes of the sets that are made before it ends join it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Id.
    pub id: OperationId,
    /// What began it, for people: `file`, `rpc`, `drift`.
    pub cause: String,
    /// State.
    pub state: OperationState,
    /// When it began.
    pub created_time: UnixMillis,
    /// When it last changed.
    pub changed_time: UnixMillis,
    /// It may remove more rules than the guard allows.
    pub force: bool,
    /// It may use the reserve of the budget.
    pub use_reserve: bool,
    /// Steps that remain; the first is the next.
    pub steps: Vec<Step>,
    /// The first step was sent and has no answer yet: after a crash, its outcome is unknown.
    pub sent: bool,
    /// A caller cancelled it while a request was in progress: it ends with that request.
    #[serde(default)]
    pub cancelled: bool,
    /// Requests made.
    pub requests: u32,
    /// Times that it was planned again because X did not do what was expected.
    pub replans: u32,
    /// Times that a refused request was halved.
    pub halvings: u32,
    /// Rules that wait for the budget: to be added, to be deleted.
    pub pending: (usize, usize),
    /// Wanted rules that X has rejected, by the last plan.
    #[serde(default)]
    pub rejected: usize,
    /// Last error; empty if there was none.
    #[serde(default)]
    pub error: String,
}

impl Operation {
    /// Creates a waiting operation.
    pub fn new(id: OperationId, cause: &str, now: UnixMillis) -> Self {
        Self {
            id,
            cause: cause.to_owned(),
            state: OperationState::Waiting,
            created_time: now,
            changed_time: now,
            force: false,
            use_reserve: false,
            steps: Vec::new(),
            sent: false,
            cancelled: false,
            requests: 0,
            replans: 0,
            halvings: 0,
            pending: (0, 0),
            rejected: 0,
            error: String::new(),
        }
    }
}
