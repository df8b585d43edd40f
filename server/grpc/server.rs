use std::sync::Arc;

use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use super::blocking::Blocking;
use super::health::HealthService;
use super::recovery_service::RecoveryApi;
use super::service_names::{HEALTH_SERVICE, RECOVERY_SERVICE, STREAM_SERVICE};
use super::stream_service::StreamApi;
use super::transport::connection::ConnectionServer;
use super::{Config, Metrics};
use crate::access::AccessControl;
use crate::clock::Clock;
use crate::gateway::Gateway;
use crate::proto;
use crate::proto::recovery_service_server::RecoveryServiceServer;
use crate::proto::stream_service_server::StreamServiceServer;
use crate::task::{ExitPolicy, Shutdown, TaskGroup};
use crate::tls::TlsListener;

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

    /// Serves until `shutdown`. End all streams before: a graceful stop waits for them.
    pub fn spawn(self, listener: TcpListener, tasks: &TaskGroup, shutdown: Shutdown) {
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
            RecoveryServiceServer::new(RecoveryApi::new(gateway.clone(), access.clone(), &config, blocking))
                .max_decoding_message_size(bytes_max)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd);
        let health = HealthServer::new(HealthService::new(gateway, access.clone(), shutdown.clone()))
            .max_decoding_message_size(bytes_max);
        let routes = Routes::new(streams)
            .add_service(recoveries)
            .add_service(health)
            .add_service(reflection_v1())
            .add_service(reflection_v1alpha())
            .prepare();
        let connections = ConnectionServer::new(config, routes, (access, tls, metrics), clock, tasks.group());
        let serve = connections.serve(listener, shutdown);
        tasks.spawn("gRPC server", ExitPolicy::StopProcess, serve);
    }
}

fn descriptors() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(STREAM_SERVICE)
        .with_service_name(RECOVERY_SERVICE)
        .with_service_name(HEALTH_SERVICE)
}

fn reflection_v1()
-> tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection> {
    descriptors().build_v1().expect("the descriptors are our own")
}

fn reflection_v1alpha()
-> tonic_reflection::server::v1alpha::ServerReflectionServer<impl tonic_reflection::server::v1alpha::ServerReflection> {
    descriptors().build_v1alpha().expect("the descriptors are our own")
}
