//! The other replicas of an account, as the hub sees them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::hub::status::replica_link::{PrivateWants, ReplicaLink, ReplicaStatus, WantError};
use crate::ingest::replication::{EndConfirmer, LeaderOrders, OrderUnanswered, PlaceCell};

/// Name of the replica that leads, as it announces itself; empty if none does. Clones share it.
#[derive(Clone, Default)]
pub(super) struct LeaderName(Arc<ArcSwap<String>>);

impl LeaderName {
    /// True if a leader has announced itself.
    pub(super) fn is_known(&self) -> bool {
        !self.0.load().is_empty()
    }

    pub(super) fn set(&self, name: &str) {
        if **self.0.load() != name {
            self.0.store(Arc::new(name.to_owned()));
        }
    }
}

/// Link of a replica to the others.
pub(super) struct SharedReplica {
    pub(super) name: String,
    pub(super) leader: LeaderName,
    pub(super) cell: PlaceCell,
    pub(super) confirmer: EndConfirmer,
    pub(super) orders: Arc<LeaderOrders>,
}

impl ReplicaLink for SharedReplica {
    fn confirm_end(&self) -> BoxFuture<'_, bool> {
        self.confirmer.confirm().boxed()
    }

    fn want(&self, wants: PrivateWants) -> BoxFuture<'_, Result<(), WantError>> {
        async move {
            let wanted = self.orders.want(wants).await.map_err(|OrderUnanswered| WantError::Unanswered)?;
            wanted.map_err(WantError::Budget)
        }
        .boxed()
    }

    fn status(&self) -> ReplicaStatus {
        let leader = self.leader.0.load().to_string();
        ReplicaStatus { name: self.name.clone(), leader, lag_messages: self.cell.lag() }
    }
}
