use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

use super::disconnect::DisconnectCause;
use super::evidence::EndEvidence;
use super::framing::{DEPTH_MAX, Framed, Framer};
use super::message::{ControlMessage, ForeignFormat, UpstreamMessage};
use super::metrics::{ConnectOutcomeLabel, DisconnectCauseLabel};
use super::{Config, MessageBatch, Metrics, Watchdog};
use crate::clock::{Clock, Elapsed, Moment};
use crate::model::UnixMillis;
use crate::secret::Secret;
use crate::telemetry::stages::{Stage, StageStamp};
use crate::xapi::{self, BodyError, ErrorKind, Response, StreamRequest, Transport, TransportError};

/// An announcement of X explains a disconnect for `stale_after` plus this time: the time to notice the disconnect.
const ANNOUNCEMENT_GRACE: Duration = Duration::from_secs(5);

/// Maximum wait for the next piece while the socket of a silent connection is drained.
const DRAIN_PAUSE: Duration = Duration::from_millis(50);
/// Maximum duration of that drain: a slow peer could send one byte per pause.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// A connection that X answered with 200. Dropping it closes the socket.
pub struct Connection {
    body: BoxStream<'static, Result<Bytes, BodyError>>,
    framer: Framer,
    watchdog: Watchdog,
    /// Expires at the earliest time at which the watchdog can. It is reset only then: resetting a timer for each post
    /// costs more than framing the post.
    timer: BoxFuture<'static, ()>,
    evidence: EndEvidence,
    /// Kinds of foreign messages received so far.
    foreign: BTreeSet<ForeignFormat>,
    ended: Option<ConnectionEnd>,
    /// Messages that arrived while the socket of a silent connection was drained.
    gathered: Option<PendingBatch>,
    /// When the last [`Connection::next`] returned; `None` while a call is pending, or after a pending call was
    /// dropped.
    unread_since: Option<Moment>,
    info: ConnectionInfo,
    last_received: UnixMillis,
    /// When the last piece was read.
    read_at: Moment,
    config: Config,
    /// Removed from X's texts, which may echo it.
    bearer: Secret,
    clock: Clock,
    metrics: Metrics,
}

/// Properties of a connection, from the response headers and the connection metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Datacenter that answered, if X names it.
    pub datacenter: Option<String>,
    /// Whether the datacenter sends only its own posts, if X reports it.
    pub local_dc_only: Option<bool>,
    /// X's clock minus the local clock in milliseconds, ± 1 s, from the `date` header.
    pub skew_ms: Option<i64>,
    /// The `date` header.
    pub date: Option<UnixMillis>,
    /// Monotonic time of the response.
    pub answered: Moment,
    /// Transaction id of the request, which X's support asks for.
    pub transaction_id: Option<String>,
}

/// Result of [`Connection::next`].
#[derive(Debug)]
pub enum ConnectionEvent {
    /// Messages or heartbeats arrived.
    Arrivals(MessageBatch),
    /// The connection has ended. Every further call returns the same end.
    End(ConnectionEnd),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionEnd {
    /// Why.
    pub cause: DisconnectCause,
    /// X's explanation; empty if there was none.
    pub words: String,
    /// Bytes of an unfinished message at the end; 0 if there was none.
    pub partial_bytes: u64,
    /// Duration from the start to the last sign of life, for [`super::ReconnectBackoff::next_step`].
    pub healthy_for: Duration,
    /// When the last byte arrived; the time of the connect if none did.
    pub last_received: UnixMillis,
}

/// Opens one connection. Returns the cause if X does not answer with a stream; the socket of that response is closed
/// then.
pub async fn connect(
    transport: &dyn Transport,
    request: &StreamRequest,
    config: &Config,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<Connection, DisconnectCause> {
    let connected = answer(transport, request, config, clock).await;
    let outcome = connected.as_ref().map_or_else(DisconnectCause::name, |_| "ok");
    metrics.connects.get_or_create(&ConnectOutcomeLabel { outcome }).inc();
    connected.map(|response| Connection::new(response, request.bearer.clone(), config, clock, metrics))
}

async fn answer(
    transport: &dyn Transport,
    request: &StreamRequest,
    config: &Config,
    clock: &Clock,
) -> Result<Response, DisconnectCause> {
    let timeout = || {
        let detail = format!("no response headers within {}", humantime::format_duration(config.response_timeout));
        DisconnectCause::ConnectFailed(TransportError { kind: ErrorKind::Timeout, detail })
    };
    let response = match clock.timeout(config.response_timeout, transport.connect(request)).await {
        Err(Elapsed) => return Err(timeout()),
        Ok(Err(error)) => return Err(DisconnectCause::ConnectFailed(error)),
        Ok(Ok(response)) => response,
    };
    if response.status == 200 {
        return Ok(response);
    }
    let (status, headers) = (response.status, response.headers.clone());
    let problem = clock.timeout(config.response_timeout, xapi::read_problem(response, request)).await;
    // The status alone classifies the problem if the body does not end in time.
    let problem = problem.unwrap_or_else(|Elapsed| xapi::Problem::read(status, headers, ""));
    Err(DisconnectCause::Refused(Box::new(problem)))
}

impl Connection {
    fn new(response: Response, bearer: Secret, config: &Config, clock: &Clock, metrics: &Metrics) -> Self {
        let answered = clock.moment();
        let now = clock.at(answered);
        let headers = response.headers;
        let safe = |text: String| xapi::shown(&text, bearer.expose());
        Self {
            body: response.body,
            framer: Framer::new(config.message_bytes_max, DEPTH_MAX),
            watchdog: Watchdog::new(config.stale_after, clock.moment()),
            timer: std::future::ready(()).boxed(),
            evidence: EndEvidence::default(),
            foreign: BTreeSet::new(),
            ended: None,
            gathered: None,
            unread_since: None,
            info: ConnectionInfo {
                datacenter: headers.datacenter.map(safe),
                local_dc_only: headers.local_dc_only,
                skew_ms: headers.date.map(|date| date.0.saturating_sub(now.0)),
                date: headers.date,
                answered,
                transaction_id: headers.transaction_id.map(safe),
            },
            last_received: now,
            read_at: answered,
            config: Config { batch_bytes_max: config.batch_bytes_max.max(1), ..config.clone() },
            bearer,
            clock: clock.clone(),
            metrics: metrics.clone(),
        }
    }

    /// Returns the properties of the connection.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Waits for the first message or heartbeat, then takes all that are ready: the HTTP client returns one chunk (a
    /// post) per poll, and reads the socket when it has no more. Cancel-safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> ConnectionEvent {
        let now = self.clock.moment();
        // Time in which the reader did not read is not silence of the peer.
        if let Some(since) = self.unread_since.take() {
            self.watchdog.exclude(now.since(since));
        }
        let mut batch = self.gathered.take().unwrap_or_else(|| PendingBatch::new(self.clock.now(), now));
        // Messages that did not fit into the last batch.
        self.take(&mut batch);
        if !batch.is_empty() {
            batch.arrivals.read_at = self.read_at;
        }
        if batch.is_empty() && self.ended.is_none() {
            let piece = self.wait(now).await;
            batch.restamp(self.clock.now(), self.clock.moment());
            match piece {
                Ok(piece) => self.accept(piece, &mut batch),
                Err(Elapsed) => batch = self.expire(batch).await,
            }
        }
        self.take_ready(&mut batch);
        self.unread_since = Some(self.clock.moment());
        match &self.ended {
            Some(end) if batch.is_empty() => ConnectionEvent::End(end.clone()),
            _ => ConnectionEvent::Arrivals(batch.arrivals),
        }
    }

    /// Ends a connection that seems silent, unless the socket contains a sign of life. After the process was suspended,
    /// the timer fires before the socket is polled: data that arrived earlier is read first, up to one batch.
    async fn expire(&mut self, batch: PendingBatch) -> PendingBatch {
        self.gathered = Some(batch);
        let (mut is_full, began) = (false, self.clock.moment());
        let is_over = |clock: &Clock| clock.moment().since(began) >= DRAIN_MAX;
        while self.ended.is_none()
            && !is_full
            && !is_over(&self.clock)
            && self.watchdog.remaining(self.clock.moment()).is_none()
        {
            let Ok(piece) = self.clock.timeout(DRAIN_PAUSE, self.body.next()).await else { break };
            let mut batch = self.gathered.take().expect("gathered is set above");
            self.accept(piece, &mut batch);
            is_full = batch.is_full(self.config.batch_bytes_max);
            self.gathered = Some(batch);
        }
        let mut batch = self.gathered.take().expect("gathered is set above");
        if self.ended.is_none() && self.watchdog.remaining(self.clock.moment()).is_none() {
            self.finish(DisconnectCause::Stale, &mut batch);
        }
        batch
    }

    /// Takes what has arrived, up to one batch.
    fn take_ready(&mut self, batch: &mut PendingBatch) {
        while self.ended.is_none()
            && !batch.is_full(self.config.batch_bytes_max)
            && let Some(piece) = self.body.next().now_or_never()
        {
            self.accept(piece, batch);
        }
    }

    async fn wait(&mut self, mut now: Moment) -> Result<Option<Result<Bytes, BodyError>>, Elapsed> {
        loop {
            // Also when there is always something to read: a flood of malformed input is no sign of life.
            self.watchdog.remaining(now).ok_or(Elapsed)?;
            tokio::select! {
                biased;
                piece = self.body.next() => return Ok(piece),
                () = &mut self.timer => {}
            }
            now = self.clock.moment();
            let patience = self.watchdog.remaining(now);
            // Always reset: a connection found alive waits again.
            let (clock, wait) = (self.clock.clone(), patience.unwrap_or(self.config.stale_after));
            self.timer = async move { clock.sleep(wait).await }.boxed();
            patience.ok_or(Elapsed)?;
        }
    }

    fn accept(&mut self, piece: Option<Result<Bytes, BodyError>>, batch: &mut PendingBatch) {
        match piece {
            Some(Ok(piece)) => {
                batch.arrivals.bytes += piece.len() as u64;
                self.metrics.received_bytes.inc_by(piece.len() as u64);
                self.last_received = batch.arrivals.received;
                self.read_at = batch.moment;
                self.framer.push(piece);
                self.take(batch);
            }
            Some(Err(error)) => {
                let detail = xapi::shown(&error.detail, self.bearer.expose());
                self.finish(DisconnectCause::Cut(BodyError { detail, ..error }), batch);
            }
            None => self.finish(DisconnectCause::CleanEof, batch),
        }
    }

    fn take(&mut self, batch: &mut PendingBatch) {
        let mut began = StageStamp::now();
        while batch.consumed_bytes < self.config.batch_bytes_max
            && let Some(framed) = self.framer.next()
        {
            began.end(Stage::Framing);
            self.take_framed(framed, batch);
            began = StageStamp::now();
        }
    }

    fn take_framed(&mut self, framed: Framed, batch: &mut PendingBatch) {
        let mut message = match framed {
            Framed::Heartbeat => {
                self.watchdog.feed(batch.moment);
                self.metrics.heartbeats.inc();
                batch.arrivals.heartbeats += 1;
                return;
            }
            Framed::Value(value) => {
                self.watchdog.feed(batch.moment);
                batch.consumed_bytes += value.len();
                let began = StageStamp::now();
                let message = UpstreamMessage::classify(value).bounded(self.config.post_rules_max);
                began.end(Stage::Classify);
                message
            }
            Framed::Oversized { bytes } => {
                self.watchdog.feed(batch.moment);
                UpstreamMessage::Oversized { bytes }
            }
            Framed::Malformed { bytes, text, .. } => UpstreamMessage::classify_text(&text, bytes),
        };
        self.note(&mut message);
        batch.arrivals.messages.push(message);
    }

    /// Records what a message announces about the connection.
    fn note(&mut self, message: &mut UpstreamMessage) {
        if let UpstreamMessage::Control(control) = message {
            control.replace_words(|words| xapi::shown(words, self.bearer.expose()));
        }
        match message {
            UpstreamMessage::Control(ControlMessage::ConnectionMetadata { datacenter: Some(datacenter) }) => {
                self.info.datacenter = Some(datacenter.clone());
            }
            UpstreamMessage::Control(_) => self.evidence.note(message, self.clock.moment()),
            UpstreamMessage::Foreign { kind, first, .. } => *first = self.foreign.insert(*kind),
            _ => {}
        }
    }

    fn finish(&mut self, cause: DisconnectCause, batch: &mut PendingBatch) {
        let rest = self.framer.finish();
        for framed in rest.framed {
            self.take_framed(framed, batch);
        }
        let valid_for = self.config.stale_after.saturating_add(ANNOUNCEMENT_GRACE);
        let now = self.clock.moment();
        let cause = self.evidence.cause(now, valid_for).unwrap_or(cause);
        let words = self.evidence.words(now, valid_for).to_owned();
        self.metrics.ends.get_or_create(&DisconnectCauseLabel { cause: cause.name() }).inc();
        self.ended = Some(ConnectionEnd {
            cause,
            words,
            partial_bytes: rest.partial_bytes,
            healthy_for: self.watchdog.healthy_for(),
            last_received: self.last_received,
        });
    }
}

/// Messages that [`Connection::next`] has gathered so far.
struct PendingBatch {
    arrivals: MessageBatch,
    /// When the first of them arrived: the clock is read once for a batch, not for each message.
    moment: Moment,
    consumed_bytes: usize,
}

impl PendingBatch {
    fn new(received: UnixMillis, moment: Moment) -> Self {
        let arrivals = MessageBatch { received, read_at: moment, messages: Vec::new(), heartbeats: 0, bytes: 0 };
        Self { arrivals, moment, consumed_bytes: 0 }
    }

    /// Sets the time of the first piece.
    fn restamp(&mut self, received: UnixMillis, moment: Moment) {
        (self.arrivals.received, self.arrivals.read_at, self.moment) = (received, moment, moment);
    }

    fn is_empty(&self) -> bool {
        let arrivals = &self.arrivals;
        arrivals.messages.is_empty() && arrivals.heartbeats == 0 && arrivals.bytes == 0
    }

    fn is_full(&self, bytes_max: usize) -> bool {
        // Also by bytes received: a message that never ends must not block the caller.
        self.consumed_bytes >= bytes_max || self.arrivals.bytes >= bytes_max as u64
    }
}

#[cfg(test)]
mod tests;
