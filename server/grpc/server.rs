use std::sync::Arc;

use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use super::blocking::Blocking;
use super::health::HealthService;
use super::recovery_service::RecoveryApi;
use super::reflection::{reflection_v1, reflection_v1alpha};
use super::rule_service::RuleApi;
use super::service_names::{HEALTH_SERVICE, RECOVERY_SERVICE, RULE_SERVICE, STREAM_SERVICE};
use super::stream_service::StreamApi;
use super::transport::connection::ConnectionServer;
use super::transport::connection_slots::ConnectionSlots;
use super::{Config, Metrics};
use crate::access::AccessControl;
use crate::clock::Clock;
use crate::gateway::Gateway;
use crate::proto::recovery_service_server::RecoveryServiceServer;
use crate::proto::rule_service_server::RuleServiceServer;
use crate::proto::stream_service_server::StreamServiceServer;
use crate::task::{ExitPolicy, Shutdown, TaskGroup};
use crate::tls::TlsListener;

/// Services that reflection lists.
const SERVICES: [&str; 4] = [STREAM_SERVICE, RECOVERY_SERVICE, RULE_SERVICE, HEALTH_SERVICE];

/// The gRPC server, before it serves a listener.
pub struct GrpcServer {
    config: Config,
    gateway: Arc<Gateway>,
    access: Arc<AccessControl>,
    tls: Option<Arc<TlsListener>>,
    metrics: Metrics,
    clock: Clock,
}

impl GrpcServer {
    /// Creates a server for the accounts of this gateway, with TLS if there is `tls`.
    pub fn new(
        config: Config,
        gateway: Arc<Gateway>,
        access: Arc<AccessControl>,
        (tls, metrics): (Option<Arc<TlsListener>>, Metrics),
        clock: Clock,
    ) -> Self {
        Self { config, gateway, access, tls, metrics, clock }
    }

    /// Serves until `shutdown`. End all streams before: a graceful stop waits for them. Returns the places of its connections.
    pub fn spawn(self, listener: TcpListener, tasks: &TaskGroup, shutdown: Shutdown) -> Arc<ConnectionSlots> {
        let Self { config, gateway, access, tls, metrics, clock } = self;
        let (bytes_max, compression) = (config.request_bytes_max, config.compression);
        // tonic decompresses requests. Responses of sessions are compressed by `encode`.
        let blocking = Blocking::new(config.lookups_max);
        let streams =
            StreamServiceServer::new(StreamApi::new(gateway.clone(), access.clone(), compression, blocking.clone()))
                .max_decoding_message_size(bytes_max)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd);
        let recoveries =
            RecoveryServiceServer::new(RecoveryApi::new(gateway.clone(), access.clone(), &config, blocking.clone()))
                .max_decoding_message_size(bytes_max)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd);
        let rules_bytes_max = config.rules_request_bytes_max;
        let rules =
            RuleServiceServer::new(RuleApi::new(gateway.clone(), access.clone(), (&config, clock.clone()), blocking))
                .max_decoding_message_size(rules_bytes_max)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd);
        let health = HealthServer::new(HealthService::new(gateway, access.clone(), shutdown.clone()))
            .max_decoding_message_size(bytes_max);
        let routes = Routes::new(streams)
            .add_service(recoveries)
            .add_service(rules)
            .add_service(health)
            .add_service(reflection_v1(&SERVICES))
            .add_service(reflection_v1alpha(&SERVICES))
            .prepare();
        let connections = ConnectionServer::new(config, routes, (access, tls, metrics), clock, tasks.group());
        let places = connections.places();
        tasks.spawn("gRPC server", ExitPolicy::StopProcess, connections.serve(listener, shutdown));
        places
    }
}
