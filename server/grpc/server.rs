use std::sync::Arc;

use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::Config;
use super::blocking::Blocking;
use super::connection::Connections;
use super::recovery_service::Recoveries;
use super::stream_service::Streams;
use crate::clock::Clock;
use crate::hub::upstream::State;
use crate::proto;
use crate::proto::recovery_service_server::RecoveryServiceServer;
use crate::proto::stream_service_server::StreamServiceServer;
use crate::status::Gateway;
use crate::task::{OnExit, Shutdown, Tasks};

/// The gRPC server, bound to nothing yet.
pub struct Server {
    config: Config,
    gateway: Arc<Gateway>,
    clock: Clock,
}

/// Names of the health service besides the accounts'.
pub struct Services;

impl Services {
    /// Ready to serve: accounts are open and the gateway does not drain.
    pub const READY: &'static str = "ready";
}

impl Server {
    /// A server over the accounts of this gateway.
    pub fn new(config: Config, gateway: Arc<Gateway>, clock: Clock) -> Self {
        Self { config, gateway, clock }
    }

    /// Serves until `shutdown`. Streams have to be ended before: a graceful stop waits for them.
    pub fn spawn(self, listener: TcpListener, tasks: &Tasks, shutdown: Shutdown) {
        let Self { config, gateway, clock } = self;
        let (reporter, health) = tonic_health::server::health_reporter();
        for account in gateway.accounts() {
            let task = report_account(reporter.clone(), account.clone(), shutdown.clone());
            tasks.spawn("account health", OnExit::Continue, task);
        }
        tasks.spawn("readiness", OnExit::Continue, report_ready(reporter, gateway.clone(), shutdown.clone()));

        let (bytes_max, compression) = (config.request_bytes_max, config.compression);
        // What a client compresses, tonic takes apart; what it gets back is the subscription's business.
        let streams = StreamServiceServer::new(Streams::new(gateway.clone(), compression, Blocking::new(config.lookups_max)))
            .max_decoding_message_size(bytes_max)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        let recoveries =
            RecoveryServiceServer::new(Recoveries::new(gateway, clock.clone())).max_decoding_message_size(bytes_max);
        let routes = Routes::new(streams)
            .add_service(recoveries)
            .add_service(health)
            .add_service(reflection_v1())
            .add_service(reflection_v1alpha())
            .prepare();
        let connections = Connections::new(config, routes, clock, tasks.group());
        let serve = connections.serve(listener, shutdown);
        tasks.spawn("gRPC server", OnExit::StopProcess, serve);
    }
}

/// The account serves while its upstream connection is up.
async fn report_account(reporter: HealthReporter, account: crate::status::Account, shutdown: Shutdown) {
    let name = account.hub.account().to_string();
    let mut status = account.hub.upstream().watch();
    loop {
        let connected = status.borrow_and_update().state == State::Connected;
        reporter.set_service_status(&name, serving(connected)).await;
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}

async fn report_ready(reporter: HealthReporter, gateway: Arc<Gateway>, shutdown: Shutdown) {
    let mut ready = gateway.readiness_changes();
    loop {
        let is_ready = *ready.borrow_and_update();
        reporter.set_service_status(Services::READY, serving(is_ready)).await;
        tokio::select! {
            changed = ready.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}

fn serving(yes: bool) -> ServingStatus {
    if yes { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn descriptors() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("powerstream.gateway.v1.StreamService")
        .with_service_name("powerstream.gateway.v1.RecoveryService")
        .with_service_name("grpc.health.v1.Health")
}

fn reflection_v1()
-> tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection> {
    descriptors().build_v1().expect("the descriptors are our own")
}

fn reflection_v1alpha()
-> tonic_reflection::server::v1alpha::ServerReflectionServer<impl tonic_reflection::server::v1alpha::ServerReflection> {
    descriptors().build_v1alpha().expect("the descriptors are our own")
}
