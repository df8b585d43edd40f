use std::sync::Arc;

use super::replication::Replication;
use crate::clock::Clock;
use crate::config::Settings;
use crate::hub::token::Keyring;
use crate::journal;
use crate::model::Epoch;
use crate::telemetry::metrics::Registry;
use crate::xapi::{RuleTransport, Transport};

/// Shared context with which every account is opened.
#[derive(Clone)]
pub(super) struct OpenContext {
    pub settings: Settings,
    pub clock: Clock,
    pub metrics: Registry,
    pub keyring: Arc<Keyring>,
    pub transport: Arc<dyn Transport>,
    pub rule_transport: Arc<dyn RuleTransport>,
    /// The disk of the logs.
    pub disk: Arc<dyn journal::Disk>,
    /// Set if there are other replicas.
    pub replication: Option<Arc<Replication>>,
    /// Source of identities and of jitter.
    pub random: fn() -> u64,
}

impl OpenContext {
    /// Returns a new epoch.
    pub fn random_epoch(&self) -> Epoch {
        Epoch(u128::from((self.random)()) << 64 | u128::from((self.random)()))
    }
}
