//! The connection to the NATS servers, and calls over it.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::response::Response;
use async_nats::{Client, ConnectOptions, Event, HeaderMap, Message, Request, RequestErrorKind, ServerAddr};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::super::error::Unavailable;
use super::config::NatsConfig;
use super::tls::{NatsTlsError, client_config};
use crate::clock::Clock;
use crate::task;

/// A node that does not answer pings is left after two of them. The client's default is a minute.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum delay between attempts to connect, of which there are as many as needed.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);
/// Oldest server with the fixes after the analysis of 2.12.1.
const VERSION_MIN: (i64, i64, i64) = (2, 12, 0);
/// What headers and the head of a block add to the largest message from X.
const OVERHEAD_BYTES_MAX: usize = 64 << 10;

/// No connection can be set up with these settings.
#[derive(Debug, Error)]
pub enum NatsError {
    /// An URL that the client cannot use.
    #[error("replication.nats.servers: {url}: {detail}")]
    Server {
        /// The URL.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file of credentials that cannot be used.
    #[error("replication.nats.credentials_file: {path}: {detail}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// TLS settings that cannot be used.
    #[error("replication.nats.tls: {0}")]
    Tls(#[from] NatsTlsError),
    /// The client does not start.
    #[error("failed to start NATS client: {0}")]
    Client(String),
}

/// The servers cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ServerError {
    /// There is no connection yet.
    #[error("no connection to any NATS server of replication.nats.servers")]
    NotConnected,
    /// An old server.
    #[error("NATS server {name} has version {version}; at least {major}.{minor}.{patch} is needed",
        major = VERSION_MIN.0, minor = VERSION_MIN.1, patch = VERSION_MIN.2)]
    Version {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// A server that refuses large messages.
    #[error(
        "max_payload of NATS server {name} is {found} bytes, at least {needed} are needed; set max_payload: 8MB in \
        the configuration of NATS"
    )]
    MaxPayload {
        /// Its name.
        name: String,
        /// Its limit.
        found: usize,
        /// For the largest message from X.
        needed: usize,
    },
}

/// A call without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NatsCallError {
    /// No node responds at the moment: it is not processed.
    NoResponders,
    /// It may be processed, now or later.
    Unknown(String),
    /// It was not sent, and never can be.
    Rejected(String),
}

impl From<NatsCallError> for Unavailable {
    fn from(error: NatsCallError) -> Self {
        match error {
            NatsCallError::NoResponders => Self("no node responds".into()),
            NatsCallError::Unknown(reason) | NatsCallError::Rejected(reason) => Self(reason),
        }
    }
}

/// A connection to the servers, shared by all accounts.
#[derive(Clone)]
pub struct NatsConnection {
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) call_timeout: Duration,
}

impl NatsConnection {
    /// Starts to connect, and to reconnect whenever the connection is lost. Returns before there is a connection.
    pub async fn start(config: &NatsConfig, name: &str, clock: &Clock) -> Result<Self, NatsError> {
        let address = |url: &url::Url| {
            let refuse = |error: std::io::Error| NatsError::Server { url: url.to_string(), detail: error.to_string() };
            ServerAddr::from_url(url.clone()).map_err(refuse)
        };
        let servers = config.servers.iter().map(address).collect::<Result<Vec<_>, _>>()?;
        let delay_max = clock.real(RECONNECT_DELAY_MAX);
        let mut options = ConnectOptions::new()
            .name(name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(move |attempts| {
                let delay = Duration::from_millis(50).saturating_mul(u32::try_from(attempts).unwrap_or(u32::MAX));
                delay.min(delay_max)
            })
            .connection_timeout(clock.real(config.call_timeout))
            .ping_interval(clock.real(PING_INTERVAL))
            .subscription_capacity(config.subscription_messages_max)
            .client_capacity(config.pending_calls_max)
            .event_callback(|event| async move { log(&event) });
        if config.ignore_discovered_servers {
            options = options.ignore_discovered_servers();
        }
        if let Some(path) = &config.credentials_file {
            let refuse =
                |error: std::io::Error| NatsError::Credentials { path: path.clone(), detail: error.to_string() };
            options = options.credentials_file(path).await.map_err(refuse)?;
        }
        let tls = config.tls.clone();
        let client_tls = task::blocking(move || client_config(&tls)).await;
        let client_tls = client_tls.map_err(|error| NatsError::Client(error.to_string()))??;
        options = options.tls_client_config(client_tls).require_tls(config.tls.is_required());
        let client = options.connect(servers).await.map_err(|error| NatsError::Client(error.to_string()))?;
        Ok(Self { client, clock: clock.clone(), call_timeout: config.call_timeout })
    }

    /// Checks the server of the current connection, for messages of X of up to `message_bytes_max`.
    pub fn check_server(&self, message_bytes_max: usize) -> Result<(), ServerError> {
        let info = self.client.try_server_info().ok_or(ServerError::NotConnected)?;
        let (major, minor, patch) = VERSION_MIN;
        if !self.client.is_server_compatible(major, minor, patch) {
            return Err(ServerError::Version { name: info.server_name, version: info.version });
        }
        let needed = message_bytes_max.saturating_add(OVERHEAD_BYTES_MAX);
        if info.max_payload < needed {
            return Err(ServerError::MaxPayload { name: info.server_name, found: info.max_payload, needed });
        }
        Ok(())
    }

    /// Sends a request, and returns the answer.
    pub(super) async fn call(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Message, NatsCallError> {
        // The client's own limit does not include the wait for its queue.
        let mut request = Request::new().payload(payload).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        match self.clock.timeout(limit, self.client.send_request(subject, request)).await {
            Err(_) => Err(NatsCallError::Unknown("no answer in time".into())),
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders => NatsCallError::NoResponders,
                RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject => {
                    NatsCallError::Rejected(error.to_string())
                }
                RequestErrorKind::TimedOut | RequestErrorKind::Other => NatsCallError::Unknown(error.to_string()),
            }),
        }
    }

    /// Calls the API of JetStream. An error of the API is an `Ok(Err(…))`.
    pub(super) async fn api<T: DeserializeOwned>(
        &self,
        operation: &str,
        stream: &str,
        request: &impl Serialize,
    ) -> Result<Result<T, (ErrorCode, String)>, NatsCallError> {
        let payload = serde_json::to_vec(request).map_err(|error| NatsCallError::Rejected(error.to_string()))?;
        let subject = format!("$JS.API.{operation}.{stream}");
        let message = self.call(subject, None, payload.into(), self.call_timeout).await?;
        match parse(&message)? {
            Response::Ok(found) => Ok(Ok(found)),
            Response::Err { error } => Ok(Err((error.error_code(), error.to_string()))),
        }
    }

    /// Publishes a message into a stream, and returns the sequence at which it is stored.
    pub(super) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Result<u64, (ErrorCode, String)>, NatsCallError> {
        let message = self.call(subject, Some(headers), payload, self.call_timeout).await?;
        match parse::<async_nats::jetstream::publish::PublishAck>(&message)? {
            Response::Ok(ack) => Ok(Ok(ack.sequence)),
            Response::Err { error } => Ok(Err((error.error_code(), error.to_string()))),
        }
    }
}

/// True if a write was refused because the stream or key is not at the expected sequence.
pub(super) fn is_conflict(code: ErrorCode) -> bool {
    [ErrorCode::STREAM_WRONG_LAST_SEQUENCE, ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT].contains(&code)
}

/// True if a write was refused for what it is, not for the state of the servers.
pub(super) fn is_rejection(code: ErrorCode) -> bool {
    [
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM,
        ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM,
        ErrorCode::STREAM_NOT_MATCH,
        ErrorCode::STREAM_SEALED,
    ]
    .contains(&code)
}

fn parse<T: DeserializeOwned>(message: &Message) -> Result<Response<T>, NatsCallError> {
    serde_json::from_slice(&message.payload)
        .map_err(|error| NatsCallError::Unknown(format!("malformed answer: {error}")))
}

fn log(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("disconnected from NATS, reconnecting"),
        Event::LameDuckMode => tracing::info!("server of NATS is shutting down, reconnecting to another"),
        // They only shorten waits.
        Event::SlowConsumer(_) => tracing::debug!("messages of the bus lost, subscription is full"),
        Event::ServerError(error) => tracing::warn!(%error, "error reported by NATS server"),
        Event::ClientError(error) => tracing::warn!(%error, "error of NATS client"),
        Event::Draining | Event::Closed => tracing::debug!("client of NATS closed"),
    }
}
