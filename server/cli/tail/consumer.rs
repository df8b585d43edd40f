use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use thiserror::Error;
use tonic::Streaming;
use tonic::transport::Endpoint;

use super::retry_policy::{FatalStatus, RetryDecision, classify};
use super::start::{StartArg, from_proto_duration, wire_duration};
use super::validator::{ContractViolation, StreamValidator};
use crate::backoff::{Backoff, Growth, jitter};
use crate::clock::{Clock, Elapsed, Moment};
use crate::proto::stream_service_client::StreamServiceClient;
use crate::proto::subscribe_response::Frame;
use crate::proto::{ResumePolicy, SubscribeRequest, SubscribeResponse, TagFilter, subscribe_request};

/// Longest frame that is taken, in bytes: eight times the most that the gateway sends (2 MiB, contract 7).
const FRAME_BYTES_MAX: usize = 16 << 20;
/// Heartbeats that may fail to come before a session counts as dead (lessons: clients, three heartbeats).
const HEARTBEATS_MISSED_MAX: u32 = 3;
/// The heartbeat that the gateway grants unless asked for another (api: 10 s).
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(10);
/// Longest wait for a connection.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest wait that the gateway can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// Idle time after which the peer's HTTP/2 stack is asked for a sign of life, and how long it has to give one.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// Share of a wait that jitter may add.
const JITTER_SHARE: f64 = 0.5;

/// What to subscribe to, and how to come back.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// Where the gateway listens: `http://host:port`.
    pub address: String,
    /// Account to read; empty when the gateway has one.
    pub account: String,
    /// Name for the gateway's logs and metrics.
    pub consumer: String,
    /// Which posts.
    pub filter: TagFilter,
    /// Where to begin while there is no token.
    pub start: StartArg,
    /// What to do with a position that is too old.
    pub on_too_old: ResumePolicy,
    /// How often to hear from the gateway; `None` = its default.
    pub heartbeat: Option<Duration>,
    /// At most this many events in a frame; 0 = the gateway's default.
    pub batch_events_max: u32,
    /// The wait after a cut, unless the gateway asks for a longer one.
    pub backoff: Backoff,
    /// Seed of the jitter.
    pub seed: u64,
}

impl ConsumerOptions {
    /// Everything from the gateway at `address`, from now on.
    pub fn new(address: impl Into<String>) -> Self {
        let step = Duration::from_millis(250);
        Self {
            address: address.into(),
            account: String::new(),
            consumer: "tail".into(),
            filter: TagFilter::default(),
            start: StartArg::Latest,
            on_too_old: ResumePolicy::Fail,
            heartbeat: None,
            batch_events_max: 0,
            backoff: Backoff { step, max: Duration::from_secs(30), growth: Growth::Doubling },
            seed: rand::random(),
        }
    }
}

/// A subscriber that stays: it comes back after every cut, with its last token.
///
/// The token covers the frame that [`Consumer::next`] gave last: store it after handling that frame, never before.
pub struct Consumer {
    settings: ConsumerOptions,
    endpoint: Endpoint,
    clock: Clock,
    rng: StdRng,
    token: Option<String>,
    /// Cuts since the last good frame.
    failures: u32,
    /// Not to come back before this.
    resume_at: Option<Moment>,
    session: Option<OpenStream>,
}

struct OpenStream {
    frames: Streaming<SubscribeResponse>,
    audit: StreamValidator,
    silence_max: Duration,
    /// Since when a frame is waited for: kept here so that a `next` that is dropped and called anew does not start over.
    waiting_since: Option<Moment>,
    /// What Draining said about coming back.
    reconnect_after: Option<Duration>,
}

/// What happened next.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// A frame came.
    Frame(Box<SubscribeResponse>),
    /// The session was cut, or could not be opened; the next call waits and comes back.
    Cut {
        /// Why, for people.
        why: String,
        /// How long the wait is.
        wait: Duration,
    },
}

/// Why a consumer does not come back.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConsumerError {
    /// The gateway will not serve the request.
    #[error(transparent)]
    Refused(#[from] FatalStatus),
    /// The gateway broke a promise. The frame that shows it is not handed out, so the token is still good.
    #[error("THE STREAM IS NOT SOUND: {0}")]
    Unsound(#[from] ContractViolation),
}

/// An address that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the address {0:?} is not of the form http://host:port")]
pub struct AddressError(String);

enum Disconnect {
    Status(Box<tonic::Status>),
    Connect(String),
    Silent(Duration),
    Ended,
}

impl Consumer {
    /// A consumer that has not connected yet.
    pub fn new(settings: ConsumerOptions, clock: Clock) -> Result<Self, AddressError> {
        let endpoint = Endpoint::from_shared(settings.address.clone())
            .ok()
            .filter(|endpoint| endpoint.uri().scheme_str() == Some("http") && endpoint.uri().host().is_some())
            .ok_or_else(|| AddressError(settings.address.clone()))?
            .connect_timeout(CONNECT_WAIT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .keep_alive_while_idle(true);
        let rng = StdRng::seed_from_u64(settings.seed);
        Ok(Self { settings, endpoint, clock, rng, token: None, failures: 0, resume_at: None, session: None })
    }

    /// Goes on after the position of this token instead of the start of the settings.
    pub fn resume(&mut self, token: String) {
        self.session = None;
        self.token = Some(token);
    }

    /// Where to go on after what was handed out so far; `None` before the first token.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Waits for what happens next: connects, comes back, reads. A call may be dropped and made anew; nothing is lost.
    pub async fn next(&mut self) -> Result<ConsumerEvent, ConsumerError> {
        if let Some(moment) = self.resume_at {
            self.clock.sleep_until(moment).await;
            self.resume_at = None;
        }
        if self.session.is_none() {
            match self.open().await {
                Ok(session) => self.session = Some(session),
                Err(cut) => return self.cut(cut),
            }
        }
        let response = match self.read().await {
            Ok(response) => response,
            Err(cut) => return self.cut(cut),
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
            resume_policy: settings.on_too_old.into(),
            max_batch_events: settings.batch_events_max,
            heartbeat_interval: settings.heartbeat.map(wire_duration),
            ..SubscribeRequest::default()
        }
    }

    fn silence_max(&self) -> Duration {
        self.settings.heartbeat.unwrap_or(HEARTBEAT_DEFAULT).saturating_mul(HEARTBEATS_MISSED_MAX)
    }

    async fn open(&self) -> Result<OpenStream, Disconnect> {
        let silence_max = self.silence_max();
        let opening = async {
            let channel = self.endpoint.connect().await.map_err(|error| Disconnect::Connect(innermost(&error)))?;
            let mut client = StreamServiceClient::new(channel).max_decoding_message_size(FRAME_BYTES_MAX);
            let response =
                client.subscribe(self.request()).await.map_err(|status| Disconnect::Status(Box::new(status)))?;
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

    fn cut(&mut self, cut: Disconnect) -> Result<ConsumerEvent, ConsumerError> {
        let farewell = self.session.take().and_then(|session| session.reconnect_after);
        let (why, after) = match cut {
            Disconnect::Connect(why) => (why, None),
            Disconnect::Silent(limit) => (format!("nothing came for {}", humantime::format_duration(limit)), None),
            Disconnect::Ended => ("the gateway ended the stream".into(), None),
            Disconnect::Status(status) => match classify(&status) {
                RetryDecision::Stop(refusal) => return Err(refusal.into()),
                RetryDecision::Retry { why, after } => (why, after),
            },
        };
        self.failures = self.failures.saturating_add(1);
        let wait = match after.or(farewell) {
            // The gateway has drawn its wait for this client: no jitter, but never a tight loop.
            Some(after) => after.clamp(self.settings.backoff.step.min(RETRY_AFTER_MAX), RETRY_AFTER_MAX),
            None => jitter(&mut self.rng, self.settings.backoff.wait(self.failures), JITTER_SHARE),
        };
        self.resume_at = Some(self.clock.moment().plus(wait));
        Ok(ConsumerEvent::Cut { why, wait })
    }
}

fn positive(duration: prost_types::Duration) -> Option<Duration> {
    from_proto_duration(duration).filter(|duration| !duration.is_zero())
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
