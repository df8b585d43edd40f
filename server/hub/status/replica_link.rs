//! The other replicas of an account, as its sessions and RPCs need them.

use futures::future::BoxFuture;

use crate::model::{BudgetExceeded, Caller, TimeRange};

/// Link to the other replicas of an account.
pub trait ReplicaLink: Send + Sync {
    /// Waits until this log has every record that any replica exposed before the call. Returns false if that cannot be had
    /// in time, for example because no replica leads.
    fn confirm_end(&self) -> BoxFuture<'_, bool>;

    /// Has the leader request private gaps, and waits until this replica has the request, too.
    fn want(&self, wants: PrivateWants) -> BoxFuture<'_, Result<(), WantError>>;

    /// Returns the state of this replica.
    fn status(&self) -> ReplicaStatus;
}

/// State of a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Its name.
    pub name: String,
    /// Name of the replica that leads; empty if none is known.
    pub leader: String,
    /// Messages of the shared log that the leader announced and this replica does not have.
    pub lag_messages: u64,
}

/// Private gaps of a subscription that the leader is to request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateWants {
    /// The intervals.
    pub spans: Vec<TimeRange>,
    /// True if the subscription reads the account's log from its first record on.
    pub from_beginning: bool,
    /// The caller that is charged for them; `None` for a repeated request.
    pub caller: Option<Caller>,
}

/// Private gaps that the leader does not request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantError {
    /// No replica that leads has answered.
    Unanswered,
    /// They exceed the budget of the caller.
    Budget(BudgetExceeded),
}
