//! AdminService with its reflection, for the connections of the admin port.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{Request, Response};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;

use super::{AdminApi, ProcessAdmin};
use crate::access::{AccessControl, CertificateNames};
use crate::clock::Clock;
use crate::gateway::Gateway;
use crate::grpc::blocking::Blocking;
use crate::grpc::methods::GrpcPort;
use crate::grpc::reflection::{reflection_v1, reflection_v1alpha};
use crate::grpc::service_names::ADMIN_SERVICE;
use crate::grpc::transport::request_handler::{Peer, RequestHandler};
use crate::grpc::{Config, Metrics};
use crate::proto::admin_service_server::AdminServiceServer;
use crate::task::TaskGroup;

/// Maximum concurrent lists: each copies the table of sessions.
const LISTS_MAX: usize = 4;

/// Answers calls of AdminService.
#[derive(Clone)]
pub struct AdminServer(Arc<RequestHandler>);

/// The client of a connection of the admin port.
#[derive(Clone)]
pub struct AdminCaller {
    /// Address of the port.
    pub local: SocketAddr,
    /// Address of the client.
    pub peer: SocketAddr,
    /// Names in its verified certificate.
    pub identity: Option<Arc<CertificateNames>>,
}

impl AdminServer {
    /// Creates the server of this gateway, for an admin port at `address`. On another address than a loopback one, callers
    /// that have every right for want of credentials are refused.
    pub fn new(
        config: &Config,
        address: IpAddr,
        (gateway, access, metrics): (Arc<Gateway>, Arc<AccessControl>, Metrics),
        operator: Arc<dyn ProcessAdmin>,
        (clock, tasks): (Clock, TaskGroup),
    ) -> Self {
        let (blocking, bytes_max) = (Blocking::new(LISTS_MAX), config.request_bytes_max);
        let api = AdminApi { gateway, access: access.clone(), operator, clock: clock.clone(), tasks, blocking };
        let routes = Routes::new(AdminServiceServer::new(api).max_decoding_message_size(bytes_max))
            .add_service(reflection_v1(&[ADMIN_SERVICE]))
            .add_service(reflection_v1alpha(&[ADMIN_SERVICE]))
            .prepare();
        let allows_open = address.to_canonical().is_loopback();
        Self(Arc::new(RequestHandler::new(config, GrpcPort::Admin, allows_open, (routes, access, metrics), clock)))
    }

    /// Answers a call.
    pub async fn answer(&self, request: Request<Body>, caller: AdminCaller) -> Response<Body> {
        let info = TcpConnectInfo { local_addr: Some(caller.local), remote_addr: Some(caller.peer) };
        self.0.answer(request, Peer { info, identity: caller.identity }).await
    }
}
