use std::pin::Pin;
use std::sync::Arc;

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
        let (sent, backoff) = (Credential::default(), Backoff::default());
        Self { settings, state: State::Connect, token, cursor, sent, backoff, violations: 0 }
    }

    /// Returns the next delivery; connects and waits as needed. Cancel safe: a call that is dropped loses nothing.
    ///
    /// Returns an error if a retry would fail again. The consumer is not usable after that.
    pub async fn next(&mut self) -> Result<Delivery, ConsumerError> {
        match self.next_frame().await {
            Ok(delivery) => Ok(delivery),
            Err(end) => self.disconnected(end),
        }
    }

    /// Stores the token of a delivery in the cursor file, after all effects of it and of all deliveries before it are durable.
    /// Without a cursor file it does nothing.
    pub fn commit(&mut self, delivery: &Delivery) -> Result<(), CursorError> {
        match (&mut self.cursor, &delivery.token) {
            (Some(cursor), Some(token)) => cursor.store(token),
            _ => Ok(()),
        }
    }

    /// Syncs the cursor file, if it is not synced at each commit.
    pub fn flush(&mut self) -> Result<(), CursorError> {
        self.cursor.as_mut().map_or(Ok(()), CursorFile::sync)
    }

    /// Returns the token of the last delivery, with which the next session resumes; `None` before the first token.
    pub fn token(&self) -> Option<&ResumeToken> {
        self.token.as_ref()
    }

    async fn next_frame(&mut self) -> Result<Delivery, Disconnect> {
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
        self.accept(response)
    }

    fn open(&mut self) -> Result<Opening, Disconnect> {
        self.sent = Credential::read(&self.settings.credentials).map_err(Disconnect::Credential)?;
        Ok(Box::pin(Session::open(Arc::clone(&self.settings), self.sent.clone(), self.token.clone())))
    }

    fn accept(&mut self, response: SubscribeResponse) -> Result<Delivery, Disconnect> {
        if let State::Streaming(session) = &mut self.state {
            session.accept(&response).map_err(Disconnect::Violation)?;
        }
        self.backoff.reset();
        let delivery = Delivery::from(response);
        if let Some(token) = &delivery.token {
            self.token = Some(token.clone());
        }
        Ok(delivery)
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
