//! Names that the health service knows in addition to the accounts.

/// Names of the health service in addition to those of accounts.
pub struct Services;

impl Services {
    /// Readiness: accounts are open and the gateway does not drain.
    pub const READY: &'static str = "ready";
    /// All names that report readiness: `ready` and those of the services, which load balancers request.
    pub const ALL: [&'static str; 5] = [Self::READY, STREAM_SERVICE, RECOVERY_SERVICE, RULE_SERVICE, HEALTH_SERVICE];
}

pub(super) const STREAM_SERVICE: &str = "powerstream.gateway.v1.StreamService";

pub(super) const RECOVERY_SERVICE: &str = "powerstream.gateway.v1.RecoveryService";

pub(super) const RULE_SERVICE: &str = "powerstream.gateway.v1.RuleService";

pub(super) const ADMIN_SERVICE: &str = "powerstream.gateway.v1.AdminService";

pub(super) const HEALTH_SERVICE: &str = "grpc.health.v1.Health";
