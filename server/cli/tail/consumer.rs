use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use thiserror::Error;
use tonic::Streaming;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Endpoint;

use super::credentials::CredentialFiles;
use super::retry_policy::{FatalStatus, RetryDecision, classify};
use super::start::{StartArg, from_proto_duration, wire_duration};
use super::validator::{ContractViolation, StreamValidator};
use crate::backoff::{Backoff, Growth, jitter};
use crate::clock::{Clock, Elapsed, Moment};
use crate::proto::stream_service_client::StreamServiceClient;
use crate::proto::subscribe_response::Frame;
use crate::proto::{ResumePolicy, SubscribeRequest, SubscribeResponse, TagFilter, subscribe_request};

/// Maximum bytes of an accepted frame: eight times the maximum that the gateway sends (2 MiB, contract 7).
const FRAME_BYTES_MAX: usize = 16 << 20;
/// Number of missed heartbeats after which a session counts as dead.
const HEARTBEATS_MISSED_MAX: u32 = 3;
/// Heartbeat interval of the gateway if the request has none.
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(10);
/// Maximum time to connect.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Maximum retry delay that the gateway can request.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// Interval and timeout of HTTP/2 pings.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// Maximum share of a delay that jitter adds.
const JITTER_SHARE: f64 = 0.5;

/// Subscription and reconnect options of a [`Consumer`].
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// Address of the gateway: `http://host:port`, or `https://host:port` for TLS.
    pub address: String,
    /// Credentials.
    pub credentials: CredentialFiles,
    /// Account to read. Empty: the only or the default account.
    pub account: String,
    /// Name for the gateway's logs and metrics.
    pub consumer: String,
    /// Filter of the events.
    pub filter: TagFilter,
    /// Start position without a token.
    pub start: StartArg,
    /// Behavior for a position that is too old.
    pub resume_policy: ResumePolicy,
    /// Heartbeat interval; `None` = the gateway's default.
    pub heartbeat: Option<Duration>,
    /// Maximum events per batch; 0 = the gateway's default.
    pub batch_events_max: u32,
    /// Delay before a reconnect, unless the gateway requests one.
    pub backoff: Backoff,
    /// Seed of the jitter.
    pub seed: u64,
}

impl ConsumerOptions {
    /// Returns options for all new events of the gateway at `address`.
    pub fn new(address: impl Into<String>) -> Self {
        let step = Duration::from_millis(250);
        Self {
            address: address.into(),
            credentials: CredentialFiles::default(),
            account: String::new(),
            consumer: "tail".into(),
            filter: TagFilter::default(),
            start: StartArg::Latest,
            resume_policy: ResumePolicy::Fail,
            heartbeat: None,
            batch_events_max: 0,
            backoff: Backoff { step, max: Duration::from_secs(30), growth: Growth::Doubling },
            seed: rand::random(),
        }
    }
}

/// A subscriber that reconnects after every disconnect and resumes with its last token.
///
/// The token covers the frame that [`Consumer::next`] returned last: store it after handling that frame, never before.
pub struct Consumer {
    settings: ConsumerOptions,
    endpoint: Endpoint,
    clock: Clock,
    rng: StdRng,
    token: Option<String>,
    /// Credential of the last attempt.
    sent: Option<AsciiMetadataValue>,
    /// Consecutive disconnects since the last valid frame.
    failures: u32,
    /// Earliest time of the next connection attempt.
    resume_at: Option<Moment>,
    session: Option<OpenStream>,
}

struct OpenStream {
    frames: Streaming<SubscribeResponse>,
    audit: StreamValidator,
    silence_max: Duration,
    /// Start of the wait for a frame: stored here so that a dropped and repeated `next` does not restart the watchdog.
    waiting_since: Option<Moment>,
    /// Delay that a Draining frame requested.
    reconnect_after: Option<Duration>,
}

/// Result of [`Consumer::next`].
#[derive(Debug)]
pub enum ConsumerEvent {
    /// A frame arrived.
    Frame(Box<SubscribeResponse>),
    /// The session ended or could not be opened; the next call waits and reconnects.
    Disconnected {
        /// Cause, for people.
        cause: String,
        /// Delay before the next attempt.
        delay: Duration,
    },
}

/// Error after which a consumer does not reconnect.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConsumerError {
    /// The gateway rejects the request permanently.
    #[error(transparent)]
    Refused(#[from] FatalStatus),
    /// The gateway violated the delivery contract. The frame is not returned, and its token is not stored.
    #[error("delivery contract violated: {0}")]
    Unsound(#[from] ContractViolation),
}

/// An invalid address.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("invalid address {0:?}: expected http://host:port or https://host:port")]
pub struct AddressError(String);

enum Disconnect {
    Status(Box<tonic::Status>),
    Connect(String),
    Silent(Duration),
    Ended,
}

/// Returns the endpoint of an address, with the timeouts of a consumer.
pub fn endpoint(address: &str) -> Result<Endpoint, AddressError> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .ok()
        .filter(|endpoint| matches!(endpoint.uri().scheme_str(), Some("http" | "https")))
        .filter(|endpoint| endpoint.uri().host().is_some())
        .ok_or_else(|| AddressError(address.to_owned()))?;
    Ok(endpoint
        .connect_timeout(CONNECT_WAIT_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .keep_alive_while_idle(true))
}

impl Consumer {
    /// Creates a consumer; [`Consumer::next`] connects it.
    pub fn new(settings: ConsumerOptions, clock: Clock) -> Result<Self, AddressError> {
        let endpoint = endpoint(&settings.address)?;
        let rng = StdRng::seed_from_u64(settings.seed);
        Ok(Self {
            settings,
            endpoint,
            clock,
            rng,
            token: None,
            sent: None,
            failures: 0,
            resume_at: None,
            session: None,
        })
    }

    /// Resumes after the position of this token instead of the start of the options.
    pub fn resume(&mut self, token: String) {
        self.session = None;
        self.token = Some(token);
    }

    /// Returns the token of the last returned frame; `None` before the first token.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Returns the next frame or disconnect; connects and waits as needed. Cancel safe.
    pub async fn next(&mut self) -> Result<ConsumerEvent, ConsumerError> {
        if let Some(moment) = self.resume_at {
            self.clock.sleep_until(moment).await;
            self.resume_at = None;
        }
        if self.session.is_none() {
            match self.open().await {
                Ok(session) => self.session = Some(session),
                Err(disconnect) => return self.disconnected(disconnect),
            }
        }
        let response = match self.read().await {
            Ok(response) => response,
            Err(disconnect) => return self.disconnected(disconnect),
        };
        self.accept(&response)?;
        Ok(ConsumerEvent::Frame(Box::new(response)))
    }

    fn request(&self) -> SubscribeRequest {
        let settings = &self.settings;
        let start = match &self.token {
            Some(token) => subscribe_request::Start::ResumeToken(token.clone()),
            None => settings.start.wire(),
        };
        SubscribeRequest {
            account: settings.account.clone(),
            consumer: settings.consumer.clone(),
            filter: Some(settings.filter.clone()),
            start: Some(start),
            resume_policy: settings.resume_policy.into(),
            max_batch_events: settings.batch_events_max,
            heartbeat_interval: settings.heartbeat.map(wire_duration),
            ..SubscribeRequest::default()
        }
    }

    fn silence_max(&self) -> Duration {
        self.settings.heartbeat.unwrap_or(HEARTBEAT_DEFAULT).saturating_mul(HEARTBEATS_MISSED_MAX)
    }

    async fn open(&mut self) -> Result<OpenStream, Disconnect> {
        let silence_max = self.silence_max();
        let credentials = &self.settings.credentials;
        self.sent = credentials.authorization().map_err(Disconnect::Connect)?;
        let endpoint = self.endpoint.clone();
        let mut request = tonic::Request::new(self.request());
        if let Some(authorization) = &self.sent {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        let opening = async {
            let channel = credentials.connect(&endpoint).await.map_err(Disconnect::Connect)?;
            let mut client = StreamServiceClient::new(channel).max_decoding_message_size(FRAME_BYTES_MAX);
            let response = client.subscribe(request).await.map_err(|status| Disconnect::Status(Box::new(status)))?;
            Ok(response.into_inner())
        };
        let frames =
            self.clock.timeout(silence_max, opening).await.map_err(|Elapsed| Disconnect::Silent(silence_max))??;
        Ok(OpenStream {
            frames,
            audit: StreamValidator::default(),
            silence_max,
            waiting_since: None,
            reconnect_after: None,
        })
    }

    async fn read(&mut self) -> Result<SubscribeResponse, Disconnect> {
        let session = self.session.as_mut().ok_or(Disconnect::Ended)?;
        let now = self.clock.moment();
        let since = *session.waiting_since.get_or_insert(now);
        let left = since.plus(session.silence_max).since(now);
        let read = self.clock.timeout(left, session.frames.message()).await;
        session.waiting_since = None;
        match read {
            Ok(Ok(Some(response))) => Ok(response),
            Ok(Ok(None)) => Err(Disconnect::Ended),
            Ok(Err(status)) => Err(Disconnect::Status(Box::new(status))),
            Err(Elapsed) => Err(Disconnect::Silent(session.silence_max)),
        }
    }

    fn accept(&mut self, response: &SubscribeResponse) -> Result<(), ConsumerError> {
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        session.audit.validate(response)?;
        match &response.frame {
            Some(Frame::SessionStart(start)) => {
                if let Some(heartbeat) = start.heartbeat_interval.and_then(positive) {
                    session.silence_max = heartbeat.saturating_mul(HEARTBEATS_MISSED_MAX);
                }
            }
            Some(Frame::Draining(draining)) => {
                session.reconnect_after = draining.reconnect_after.and_then(positive);
            }
            _ => {}
        }
        self.failures = 0;
        if !response.resume_token.is_empty() {
            self.token = Some(response.resume_token.clone());
        }
        Ok(())
    }

    fn disconnected(&mut self, disconnect: Disconnect) -> Result<ConsumerEvent, ConsumerError> {
        let requested = self.session.take().and_then(|session| session.reconnect_after);
        let (cause, after) = match disconnect {
            Disconnect::Connect(cause) => (cause, None),
            Disconnect::Silent(limit) => (format!("no frame for {}", humantime::format_duration(limit)), None),
            Disconnect::Ended => ("the gateway ended the stream".into(), None),
            Disconnect::Status(status) => match classify(&status) {
                RetryDecision::Stop(refusal) => {
                    if !self.settings.credentials.may_help(&refusal.reason, self.sent.as_ref()) {
                        return Err(refusal.into());
                    }
                    (refusal.to_string(), None)
                }
                RetryDecision::Retry { cause, after } => (cause, after),
            },
        };
        self.failures = self.failures.saturating_add(1);
        let delay = match after.or(requested) {
            // The gateway has jittered this delay for the client. The lower bound prevents a tight loop.
            Some(after) => after.clamp(self.settings.backoff.step.min(RETRY_AFTER_MAX), RETRY_AFTER_MAX),
            None => jitter(&mut self.rng, self.settings.backoff.wait(self.failures), JITTER_SHARE),
        };
        self.resume_at = Some(self.clock.moment().plus(delay));
        Ok(ConsumerEvent::Disconnected { cause, delay })
    }
}

fn positive(duration: prost_types::Duration) -> Option<Duration> {
    from_proto_duration(duration).filter(|duration| !duration.is_zero())
}
