//! What the replicas of one account share, over a connection.

use std::sync::Arc;

use super::super::traits::Quorum;
use super::bus::NatsBus;
use super::connection::NatsConnection;
use super::keys::NatsKeys;
use super::log::NatsLog;
use super::stream::StreamLimits;
use crate::model::AccountName;

impl NatsConnection {
    /// Returns what the replicas of this account share.
    pub fn account(&self, account: &AccountName, limits: StreamLimits) -> Quorum {
        Quorum {
            log: Arc::new(NatsLog::new(self.clone(), account, limits)),
            keys: Arc::new(NatsKeys::new(self.clone(), account, limits)),
            bus: Arc::new(NatsBus::new(self.clone(), account)),
        }
    }
}
