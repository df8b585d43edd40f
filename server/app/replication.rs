//! What the replicas of all accounts share in this process: the connection, and the guard of upstream requests.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::clock::Clock;
use crate::config::Settings;
use crate::ingest::replication;
use crate::lease::LeaseHandle;
use crate::model::AccountName;
use crate::quorum::{MemoryCluster, NatsConnection, Quorum, ServerError};
use crate::xapi::{ErrorKind, Response, StreamRequest, Transport, TransportError};

/// How long a start waits for the shared log.
pub(super) const JOIN_TIMEOUT: Duration = Duration::from_secs(20);
/// Delay between attempts to join.
pub(super) const JOIN_INTERVAL: Duration = Duration::from_millis(200);

/// Connection to the shared log, and the settings of replication.
pub(super) struct Replication {
    pub(super) config: replication::Config,
    /// Where the gRPC port of this replica is, for operators.
    pub(super) address: String,
    backend: SharedBackend,
    /// Largest message of the shared log, without its head.
    message_bytes_max: usize,
}

/// Where the shared logs are.
enum SharedBackend {
    Nats(NatsConnection),
    /// Several replicas in one process.
    Memory(MemoryCluster),
}

impl Replication {
    /// Starts to connect, unless the replicas of this process share `memory`; `None` without other replicas.
    pub(super) async fn start(
        settings: &Settings,
        clock: &Clock,
        memory: Option<MemoryCluster>,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        let config = &settings.replication;
        if !config.is_enabled() {
            return Ok(None);
        }
        let backend = match memory {
            Some(cluster) => SharedBackend::Memory(cluster),
            None => {
                let connection = NatsConnection::start(&config.nats, &config.name, clock).await;
                SharedBackend::Nats(connection.context("invalid settings in section `replication`")?)
            }
        };
        // A block has the messages of one append, the last of which may pass the bound.
        let message_bytes_max = settings.upstream.message_bytes_max.saturating_add(settings.ingest.append_bytes_max);
        let address = settings.grpc.address.to_string();
        Ok(Some(Arc::new(Self { config: config.clone(), address, backend, message_bytes_max })))
    }

    /// Waits for a connection, and returns what the replicas of this account share.
    pub(super) async fn account(&self, account: &AccountName, clock: &Clock) -> Result<Quorum, ServerError> {
        let connection = match &self.backend {
            SharedBackend::Memory(cluster) => return Ok(cluster.replica(&self.config.name)),
            SharedBackend::Nats(connection) => connection,
        };
        let began = clock.moment();
        loop {
            match connection.check_server(self.message_bytes_max) {
                Err(ServerError::NotConnected) if clock.moment().since(began) < JOIN_TIMEOUT => {
                    clock.sleep(JOIN_INTERVAL).await;
                }
                checked => {
                    return checked.map(|()| connection.account(account, self.config.stream_limits()));
                }
            }
        }
    }
}

/// Opens streams only while this replica holds the lease, also after the process was stopped for a while.
pub(super) struct LeasedTransport {
    pub(super) inner: Arc<dyn Transport>,
    pub(super) lease: LeaseHandle,
}

impl Transport for LeasedTransport {
    fn connect<'a>(&'a self, request: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>> {
        if self.lease.held().is_some() {
            return self.inner.connect(request);
        }
        let detail = "this replica does not hold the lease".into();
        std::future::ready(Err(TransportError { kind: ErrorKind::NotAllowed, detail })).boxed()
    }
}

/// Runs `work` only while the lease is held. In between it stands still.
pub(super) async fn run_while_leading(lease: LeaseHandle, work: impl Future<Output = ()>) {
    let mut work = pin!(work);
    loop {
        let tenure = lease.acquired().await;
        tokio::select! {
            () = &mut work => return,
            () = lease.ended(tenure.number) => {}
        }
    }
}
