//! grpc.health.v1 for the process, its services and each account.
//!
//! The empty name is the process, which is SERVING as long as it responds. `ready` and the full names of the services report
//! readiness, the name of an account its upstream connection. Reserved names are not valid account names (`config`).

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::call_context::CallContext;
use super::service_names::Services;
use super::status;
use crate::gateway::{Gateway, NoAccount};
use crate::hub::status::upstream_status::{self, UpstreamState};
use crate::model::AccountName;
use crate::task::Shutdown;

/// The health service over the gateway's accounts.
pub struct HealthService {
    gateway: Arc<Gateway>,
    shutdown: Shutdown,
}

/// Target of a service name.
enum HealthTarget {
    Process,
    Readiness(watch::Receiver<bool>),
    Upstream(watch::Receiver<upstream_status::UpstreamStatus>),
    /// An account that could not be opened yet.
    Failed(Arc<Gateway>, String, watch::Receiver<usize>),
    Unknown,
}

impl HealthService {
    /// Serves until `shutdown`, which ends all watches.
    pub fn new(gateway: Arc<Gateway>, shutdown: Shutdown) -> Self {
        Self { gateway, shutdown }
    }

    /// Returns the target of a name. An account that the caller may not read is unknown.
    fn watched(&self, name: &str, context: &CallContext) -> HealthTarget {
        if name.is_empty() {
            return HealthTarget::Process;
        }
        if Services::ALL.contains(&name) {
            return HealthTarget::Readiness(self.gateway.readiness_changes());
        }
        match AccountName::new(name) {
            Ok(account) if context.can_read(&account) => HealthTarget::account(&self.gateway, name),
            _ => HealthTarget::Unknown,
        }
    }
}

impl HealthTarget {
    fn account(gateway: &Arc<Gateway>, name: &str) -> Self {
        // Subscribed before the lookup, so that no change in between is missed.
        let openings = gateway.openings();
        match gateway.account(name) {
            Ok(account) => Self::Upstream(account.hub.upstream().watch()),
            Err(NoAccount::Failed(_)) => Self::Failed(gateway.clone(), name.to_owned(), openings),
            Err(NoAccount::Unknown | NoAccount::Unnamed) => Self::Unknown,
        }
    }

    /// Returns the current status.
    fn status(&mut self) -> ServingStatus {
        let serves = match self {
            Self::Process => true,
            Self::Readiness(ready) => *ready.borrow_and_update(),
            Self::Upstream(upstream) => upstream.borrow_and_update().state == UpstreamState::Connected,
            Self::Failed(..) => false,
            Self::Unknown => return ServingStatus::ServiceUnknown,
        };
        if serves { ServingStatus::Serving } else { ServingStatus::NotServing }
    }

    /// Waits for an event that may change the status; forever if none can.
    async fn changed(&mut self) {
        let changed = match self {
            Self::Process | Self::Unknown => std::future::pending().await,
            Self::Readiness(ready) => ready.changed().await,
            Self::Upstream(upstream) => upstream.changed().await,
            Self::Failed(gateway, name, openings) => {
                let changed = openings.changed().await;
                let found = Self::account(gateway, name);
                *self = found;
                changed
            }
        };
        if changed.is_err() {
            // The sender is gone: the process stops.
            std::future::pending().await
        }
    }

    /// Waits until the status differs from `last`.
    async fn other_than(&mut self, last: Option<ServingStatus>) -> ServingStatus {
        loop {
            let status = self.status();
            if Some(status) != last {
                return status;
            }
            self.changed().await;
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let context = CallContext::of(&request)?;
        match self.watched(&request.get_ref().service, &context).status() {
            ServingStatus::ServiceUnknown => Err(status::service_unknown()),
            known => Ok(Response::new(response(known))),
        }
    }

    /// An unknown name gets SERVICE_UNKNOWN and the stream stays open, as the protocol requires.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let context = CallContext::of(&request)?;
        let watched = self.watched(&request.get_ref().service, &context);
        let state = Some((watched, None, self.shutdown.clone()));
        let statuses = futures::stream::unfold(state, async |state| {
            let (mut watched, last, shutdown) = state?;
            match shutdown.run_until_cancelled(watched.other_than(last)).await {
                Some(status) => Some((Ok(response(status)), Some((watched, Some(status), shutdown)))),
                None => Some((Err(status::draining(std::time::Duration::ZERO)), None)),
            }
        });
        Ok(Response::new(Box::pin(statuses)))
    }
}
