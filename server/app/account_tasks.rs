//! Where the tasks of accounts run, and what ends them.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::gateway::Gateway;
use crate::task::{Shutdown, TaskGroup};

/// Task groups that run an open account.
#[derive(Clone)]
pub(super) struct AccountTasks {
    pub(super) gateway: Arc<Gateway>,
    pub(super) sessions: TaskGroup,
    pub(super) writers: TaskGroup,
    pub(super) upstream: Shutdown,
    pub(super) giving_up: Shutdown,
    pub(super) leaderships: LeadershipOrders,
    /// Runtime of tasks that are spawned by the thread of a role.
    pub(super) runtime: Handle,
}

/// Orders to end leaderships, of all accounts of the process.
#[derive(Clone)]
pub(super) struct LeadershipOrders {
    upstream: Shutdown,
    current: Arc<Mutex<Shutdown>>,
}

impl LeadershipOrders {
    /// Creates orders; closing upstream ends the last leadership of every account.
    pub(super) fn new(upstream: &Shutdown) -> Self {
        Self { upstream: upstream.clone(), current: Arc::new(Mutex::new(upstream.child_token())) }
    }

    /// Returns the end of a leadership that begins now.
    pub(super) fn end_of_next(&self) -> Shutdown {
        self.current.lock().clone()
    }

    /// Ends the leaderships that run.
    pub(super) fn end_all(&self) {
        let ended = std::mem::replace(&mut *self.current.lock(), self.upstream.child_token());
        ended.cancel();
    }
}
