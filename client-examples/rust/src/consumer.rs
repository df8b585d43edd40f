use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt};
use thiserror::Error;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::builder::{ConsumerBuilder, Settings};
use crate::credential::Credential;
use crate::cursor_file::{CursorError, CursorFile};
use crate::delivery::{Content, Delivery, Disconnected, ResumeToken};
use crate::proto::SubscribeResponse;
use crate::retry_policy::{Disconnect, Refusal, RetryDecision, classify};
use crate::session::Session;
use crate::validator::ContractViolation;

/// A subscriber that reconnects after every disconnect and resumes behind its last delivery: the loop of PROTOCOL.md.
pub struct Consumer {
    settings: Arc<Settings>,
    state: State,
    /// Further deliveries of the frame that arrived last.
    pending: VecDeque<Delivery>,
    /// Token of the last delivery.
    token: Option<ResumeToken>,
    cursor: Option<CursorFile>,
    /// Credential of the last attempt.
    sent: Credential,
    backoff: Backoff,
    /// Violations of the contract so far.
    violations: u32,
}

/// States of the loop. They are stored, so that `next` can be dropped in each of them.
enum State {
    Connect,
    Connecting(Opening),
    Streaming(Box<Session>),
    BackOff(Instant),
}

type Opening = Pin<Box<dyn Future<Output = Result<(Session, SubscribeResponse), Disconnect>> + Send>>;

/// Error after which a consumer does not reconnect.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConsumerError {
    /// The gateway rejects the request permanently.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The gateway violated the delivery contract too often.
    #[error("delivery contract violated: {0}")]
    Violated(#[from] ContractViolation),
}

impl Consumer {
    /// Returns options for all new events of the gateway at `address`: `http://host:port`, or `https://host:port` for TLS.
    pub fn builder(address: impl Into<String>) -> ConsumerBuilder {
        ConsumerBuilder::new(address.into())
    }

    pub(crate) fn new(settings: Arc<Settings>, token: Option<ResumeToken>, cursor: Option<CursorFile>) -> Self {
        let (pending, sent, backoff) = (VecDeque::new(), Credential::default(), Backoff::default());
        Self { settings, state: State::Connect, pending, token, cursor, sent, backoff, violations: 0 }
    }

    /// Returns the next delivery; connects and waits as needed. Cancel safe: a call that is dropped loses nothing.
    ///
    /// # Errors
    /// Returns an error if a retry would fail again. The consumer is not usable after that.
    pub async fn next(&mut self) -> Result<Delivery, ConsumerError> {
        let delivery = match self.pending.pop_front() {
            Some(delivery) => delivery,
            None => match self.next_frame().await {
                Ok(response) => {
                    let (first, rest) = Delivery::split(response);
                    self.pending = rest;
                    first
                }
                Err(end) => return self.disconnected(end),
            },
        };
        if let Some(token) = &delivery.token {
            self.token = Some(token.clone());
        }
        Ok(delivery)
    }

    /// Returns the deliveries as a stream, for a consumer that stores its token itself. It ends after an error.
    pub fn into_stream(self) -> BoxStream<'static, Result<Delivery, ConsumerError>> {
        let next = async |consumer: Option<Self>| {
            let mut consumer = consumer?;
            let next = consumer.next().await;
            let consumer = next.is_ok().then_some(consumer);
            Some((next, consumer))
        };
        stream::unfold(Some(self), next).boxed()
    }

    /// Ends the session. The next one resumes after the position of this token; without one at the start position.
    ///
    /// Call it with the token that you have stored, after an error of your code: a transaction may have been committed although
    /// it reported an error. [`Consumer::run`] does so.
    pub fn resume_from(&mut self, token: Option<ResumeToken>) {
        self.state = State::Connect;
        self.pending.clear();
        self.token = token;
    }

    /// Stores the token of a delivery in the cursor file, after all effects of it and of all deliveries before it are durable.
    /// Without a cursor file it does nothing.
    ///
    /// # Errors
    /// Returns [`CursorError::Write`] if the file cannot be replaced; the old token is still in it.
    pub fn commit(&mut self, delivery: &Delivery) -> Result<(), CursorError> {
        match (&mut self.cursor, &delivery.token) {
            (Some(cursor), Some(token)) => cursor.store(token),
            _ => Ok(()),
        }
    }

    /// Syncs the cursor file, if it is not synced at each commit.
    ///
    /// # Errors
    /// Returns [`CursorError::Write`] if the file cannot be synced.
    pub fn flush(&mut self) -> Result<(), CursorError> {
        self.cursor.as_mut().map_or(Ok(()), CursorFile::sync)
    }

    /// Returns the token of the last delivery, with which the next session resumes; `None` before the first token.
    pub fn token(&self) -> Option<&ResumeToken> {
        self.token.as_ref()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn next_frame(&mut self) -> Result<SubscribeResponse, Disconnect> {
        let response = loop {
            match &mut self.state {
                State::BackOff(until) => {
                    tokio::time::sleep_until(*until).await;
                    self.state = State::Connect;
                }
                State::Connect => self.state = State::Connecting(self.open()?),
                State::Connecting(opening) => {
                    let (session, first) = opening.as_mut().await?;
                    self.state = State::Streaming(Box::new(session));
                    break first;
                }
                State::Streaming(session) => break session.next().await?,
            }
        };
        self.accept(&response)?;
        Ok(response)
    }

    fn open(&mut self) -> Result<Opening, Disconnect> {
        self.sent = Credential::read(&self.settings.credentials).map_err(Disconnect::Credential)?;
        Ok(Box::pin(Session::open(Arc::clone(&self.settings), self.sent.clone(), self.token.clone())))
    }

    fn accept(&mut self, response: &SubscribeResponse) -> Result<(), Disconnect> {
        if let State::Streaming(session) = &mut self.state {
            session.accept(response).map_err(Disconnect::Violation)?;
        }
        self.backoff.reset();
        Ok(())
    }

    fn disconnected(&mut self, end: Disconnect) -> Result<Delivery, ConsumerError> {
        let reconnect_after = match std::mem::replace(&mut self.state, State::Connect) {
            State::Streaming(session) => session.reconnect_after,
            _ => None,
        };
        let (cause, violation, retry_delay) = match end {
            Disconnect::Violation(violation) => {
                self.violations = self.violations.saturating_add(1);
                if self.violations >= self.settings.violations_max {
                    return Err(violation.into());
                }
                (violation.to_string(), Some(violation), None)
            }
            end => match classify(&end, || self.settings.credentials.state(&self.sent)) {
                RetryDecision::Stop(refusal) => return Err(refusal.into()),
                RetryDecision::Retry { cause, retry_delay } => (cause, None, retry_delay),
            },
        };
        let retry_in = self.backoff.next(retry_delay.or(reconnect_after), rand::random());
        self.state = State::BackOff(Instant::now() + retry_in);
        Ok(Delivery { content: Content::Disconnected(Disconnected { cause, violation, retry_in }), token: None })
    }
}
