//! AdminService on the admin port: the connections of `http` call the service of `grpc`, which operates this process.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;

use super::effective_config::EffectiveConfig;
use super::reload::ReloadRequests;
use crate::grpc::{AdminCaller, AdminServer, ConfigEntry, LogFilterError, LogFilterState, ProcessAdmin, ReloadReport};
use crate::http::{RpcClient, RpcHandler};
use crate::task::Shutdown;
use crate::telemetry::LogFilterOverride;

/// Operates the process.
pub(super) struct ProcessOperator {
    pub(super) config: Arc<EffectiveConfig>,
    pub(super) reloads: Arc<ReloadRequests>,
    pub(super) log_filter: Arc<LogFilterOverride>,
    pub(super) shutdown: Shutdown,
}

impl ProcessAdmin for ProcessOperator {
    fn config(&self) -> Vec<ConfigEntry> {
        self.config.entries()
    }

    fn reload(&self) -> BoxFuture<'static, Option<ReloadReport>> {
        let (report, shutdown) = (self.reloads.request_report(), self.shutdown.clone());
        async move { shutdown.run_until_cancelled(report).await?.ok() }.boxed()
    }

    fn set_log_filter(&self, change: Option<(&str, Duration)>) -> Result<LogFilterState, LogFilterError> {
        self.log_filter.set(change).map_err(|error| LogFilterError(error.to_string()))?;
        let (filter, until) = self.log_filter.in_effect();
        Ok(LogFilterState { filter, until, configured: self.log_filter.configured() })
    }
}

/// Passes calls from the connections to the service.
pub(super) struct AdminRpc(pub(super) AdminServer);

impl RpcHandler for AdminRpc {
    fn call(&self, request: Request<Incoming>, client: RpcClient) -> BoxFuture<'static, Response<Body>> {
        let RpcClient { local, peer, identity, .. } = client;
        let (server, caller) = (self.0.clone(), AdminCaller { local, peer, identity });
        async move { server.answer(request.map(tonic::body::Body::new), caller).await.map(Body::new) }.boxed()
    }
}
