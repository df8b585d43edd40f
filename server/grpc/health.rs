//! grpc.health.v1 for the process, its services and each account.
//!
//! The empty name is the process, which is SERVING as long as it responds. `ready` and the full names of the services report
//! readiness, the name of an account its upstream connection. Reserved names are not valid account names (`config`).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::call_context::CallContext;
use super::service_names::Services;
use super::status;
use crate::access::{AccessControl, CredentialWatch};
use crate::gateway::{Gateway, NoAccount};
use crate::hub::status::upstream_status::{self, UpstreamState};
use crate::model::AccountName;
use crate::task::Shutdown;

/// The health service over the gateway's accounts.
#[derive(Clone)]
pub struct HealthService {
    gateway: Arc<Gateway>,
    access: Arc<AccessControl>,
    shutdown: Shutdown,
}

/// A running `Watch`.
struct HealthWatch {
    service: HealthService,
    name: String,
    target: HealthTarget,
    last: Option<ServingStatus>,
    /// `None`: the caller has no credential that could end.
    credential: Option<CredentialWatch>,
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
    pub fn new(gateway: Arc<Gateway>, access: Arc<AccessControl>, shutdown: Shutdown) -> Self {
        Self { gateway, access, shutdown }
    }

    /// Returns the target of a name. An account that the caller may not read is unknown.
    fn target(&self, name: &str, can_read: impl Fn(&AccountName) -> bool) -> HealthTarget {
        if name.is_empty() {
            return HealthTarget::Process;
        }
        if Services::ALL.contains(&name) {
            return HealthTarget::Readiness(self.gateway.readiness_changes());
        }
        match AccountName::new(name) {
            Ok(account) if can_read(&account) => HealthTarget::account(&self.gateway, name),
            _ => HealthTarget::Unknown,
        }
    }
}

impl HealthWatch {
    /// Returns the next status, or the end of the stream. A name that the caller may not read any more becomes unknown.
    async fn next(&mut self) -> Result<ServingStatus, Status> {
        loop {
            let ended = async {
                match &mut self.credential {
                    Some(credential) => credential.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.service.shutdown.cancelled() => return Err(status::draining(Duration::ZERO)),
                ended = ended => if let Some(end) = ended {
                    return Err(status::access_ended(end));
                },
                status = self.target.other_than(self.last) => {
                    self.last = Some(status);
                    return Ok(status);
                }
            }
            let credential = self.credential.as_ref();
            let can_read = |account: &AccountName| credential.is_some_and(|own| own.can_read(account));
            self.target = self.service.target(&self.name, can_read);
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
        match self.target(&request.get_ref().service, |account| context.can_read(account)).status() {
            ServingStatus::ServiceUnknown => Err(status::service_unknown()),
            known => Ok(Response::new(response(known))),
        }
    }

    /// An unknown name gets SERVICE_UNKNOWN and the stream stays open, as the protocol requires.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let context = CallContext::of(&request)?;
        let name = request.into_inner().service;
        let target = self.target(&name, |account| context.can_read(account));
        let credential = context.watch_credential(&self.access)?;
        let watch = HealthWatch { service: self.clone(), name, target, last: None, credential };
        let statuses = futures::stream::unfold(Some(watch), async |watch| {
            let mut watch = watch?;
            match watch.next().await {
                Ok(status) => Some((Ok(response(status)), Some(watch))),
                Err(end) => Some((Err(end), None)),
            }
        });
        Ok(Response::new(Box::pin(statuses)))
    }
}
