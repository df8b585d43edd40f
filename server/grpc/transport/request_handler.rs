//! The path of a call, on the gRPC port and on the admin port: authentication, right, service, audit.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tower::Service;

use super::response_budget::Exchange;
use crate::access::{AccessControl, AuditedCall, CertificateNames};
use crate::clock::Clock;
use crate::grpc::call_context::CallContext;
use crate::grpc::config::Reflection;
use crate::grpc::methods::GrpcPort;
use crate::grpc::{Config, Metrics, explain, status};

/// Answers the calls of a port.
pub struct RequestHandler {
    port: GrpcPort,
    /// False if callers that have every right for want of credentials are refused.
    allows_open: bool,
    reflection: Reflection,
    routes: Routes,
    access: Arc<AccessControl>,
    metrics: Metrics,
    clock: Clock,
    timeout: Duration,
    /// Of most requests, and of those about rules.
    request_bytes_max: (usize, usize),
}

/// Path of the methods of RuleService.
const RULES: &str = "/powerstream.gateway.v1.RuleService/";

/// The client of a connection.
#[derive(Clone)]
pub struct Peer {
    /// Addresses of its connection.
    pub info: TcpConnectInfo,
    /// Names in its verified certificate.
    pub identity: Option<Arc<CertificateNames>>,
}

impl RequestHandler {
    /// Creates the handler of a port with these services.
    pub fn new(
        config: &Config,
        port: GrpcPort,
        allows_open: bool,
        (routes, access, metrics): (Routes, Arc<AccessControl>, Metrics),
        clock: Clock,
    ) -> Self {
        let request_bytes_max = (config.request_bytes_max, config.rules_request_bytes_max);
        let (timeout, reflection) = (config.unary_timeout, config.reflection);
        Self { port, allows_open, reflection, routes, access, metrics, clock, timeout, request_bytes_max }
    }

    /// Returns the metrics of calls.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers a call.
    pub async fn answer(&self, mut request: Request<Body>, peer: Peer) -> Response<Body> {
        if let Some(refused) = explain::refuse(&request) {
            return refused;
        }
        let (path, address) = (request.uri().path().to_owned(), peer.info.remote_addr().map(|peer| peer.ip()));
        let context = match self.accept(request.headers(), &path, address, peer.identity.as_deref()).await {
            Ok(context) => context,
            Err(refused) => return refused.into_http(),
        };
        if let Err(refused) = open_call(&context) {
            self.clock.sleep(context.refusal_delay()).await;
            return refused.into_http();
        }
        request.extensions_mut().insert(peer.info);
        request.extensions_mut().insert(context.clone());
        let mut routes = self.routes.clone();
        // Of a stream, until it begins.
        let answer = match self.clock.timeout(self.timeout, routes.call(request)).await {
            Ok(Ok(answer)) => {
                let about_rules = path.starts_with(RULES);
                let bytes_max = if about_rules { self.request_bytes_max.1 } else { self.request_bytes_max.0 };
                explain::explain(answer, (bytes_max, about_rules))
            }
            Err(crate::clock::Elapsed) => status::too_slow(self.timeout).into_http(),
        };
        let code = Status::from_header_map(answer.headers()).map_or(Code::Ok, |ended| ended.code());
        let (call, reason) = (context.audited(address, &path), status::reason(answer.headers()));
        if code == Code::PermissionDenied {
            self.metrics.count_denied(&path);
            self.access.audit().log_denied_call(call, reason);
        }
        if self.port == GrpcPort::Admin {
            self.access.audit().log_admin_call(call, &format!("{code:?}"), reason);
        }
        if code == Code::ResourceExhausted {
            self.clock.sleep(context.refusal_delay()).await;
        }
        answer
    }

    /// Authenticates a call. A peer whose credentials are refused too often is answered late.
    async fn accept(
        &self,
        headers: &HeaderMap,
        path: &str,
        peer: Option<IpAddr>,
        identity: Option<&CertificateNames>,
    ) -> Result<CallContext, Status> {
        let policy = (self.port, self.reflection, self.allows_open);
        match CallContext::authenticate(&self.access, policy, path, headers, identity).await {
            Ok(context) => {
                if let Some(kind) = context.credential_kind() {
                    self.metrics.count_authenticated(kind);
                }
                Ok(context)
            }
            Err(refused) => {
                let reason = status::reason(refused.metadata().as_ref());
                if refused.code() == Code::Unauthenticated || reason == "AUTH_UNAVAILABLE" {
                    self.metrics.count_refused(headers, identity.is_some(), reason);
                }
                if refused.code() == Code::Unauthenticated {
                    let call = AuditedCall { caller: None, peer, method: path };
                    let refusals = self.access.audit().log_refused_authentication(call, reason);
                    self.clock.sleep(self.access.refusal_delay(refusals)).await;
                }
                Err(refused)
            }
        }
    }
}

/// Counts a call for its principal, and on its connection until it ends.
fn open_call(context: &CallContext) -> Result<(), Status> {
    let exchange = Exchange::current();
    let permit = context.open_call(exchange.as_ref().map(|exchange| exchange.connection()))?;
    if let Some((exchange, permit)) = exchange.zip(permit) {
        exchange.keep(permit);
    }
    Ok(())
}
