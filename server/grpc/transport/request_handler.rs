//! The path of a call, on the gRPC port and on the admin port: authentication, right, service, audit.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tower::Service;

use crate::access::{AccessControl, AuditedCall, CertificateNames};
use crate::clock::Clock;
use crate::grpc::call_context::CallContext;
use crate::grpc::methods::GrpcPort;
use crate::grpc::{Config, explain, status};

/// Answers the calls of a port.
pub struct RequestHandler {
    port: GrpcPort,
    /// False if callers that have every right for want of credentials are refused.
    allows_open: bool,
    routes: Routes,
    access: Arc<AccessControl>,
    clock: Clock,
    timeout: Duration,
    request_bytes_max: usize,
}

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
        (routes, access): (Routes, Arc<AccessControl>),
        clock: Clock,
    ) -> Self {
        let (timeout, request_bytes_max) = (config.unary_timeout, config.request_bytes_max);
        Self { port, allows_open, routes, access, clock, timeout, request_bytes_max }
    }

    /// Answers a call.
    pub async fn answer(&self, mut request: Request<Body>, peer: Peer) -> Response<Body> {
        if let Some(refused) = explain::refuse(&request) {
            return refused;
        }
        let (path, address) = (request.uri().path().to_owned(), peer.info.remote_addr().map(|peer| peer.ip()));
        let (policy, identity) = ((self.port, self.allows_open), peer.identity.as_deref());
        let context = match CallContext::authenticate(&self.access, policy, &path, request.headers(), identity).await {
            Ok(context) => context,
            Err(refused) => {
                if refused.code() == Code::Unauthenticated {
                    let call = AuditedCall { caller: None, peer: address, method: &path };
                    self.access.audit().log_refused_authentication(call, status::reason(refused.metadata().as_ref()));
                }
                return refused.into_http();
            }
        };
        request.extensions_mut().insert(peer.info);
        request.extensions_mut().insert(context.clone());
        let mut routes = self.routes.clone();
        // Of a stream, until it begins.
        let answer = match self.clock.timeout(self.timeout, routes.call(request)).await {
            Ok(Ok(answer)) => explain::explain(answer, self.request_bytes_max),
            Err(crate::clock::Elapsed) => status::too_slow(self.timeout).into_http(),
        };
        let code = Status::from_header_map(answer.headers()).map_or(Code::Ok, |ended| ended.code());
        let (call, reason) = (context.audited(address, &path), status::reason(answer.headers()));
        if code == Code::PermissionDenied {
            self.access.audit().log_denied_call(call, reason);
        }
        if self.port == GrpcPort::Admin {
            self.access.audit().log_admin_call(call, &format!("{code:?}"), reason);
        }
        answer
    }
}
