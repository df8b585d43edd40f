use std::pin::{Pin, pin};
use std::time::Duration;

use thiserror::Error;
use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::consumer::{Consumer, ConsumerError};
use crate::delivery::{Content, Delivery, ResumeToken};
use crate::handler::{Cause, Failure, Handler, HandlerError};
use crate::proto::Event;
use crate::proto::subscribe_response::Frame;

/// Error with which [`Consumer::run`] ends.
#[derive(Debug, Error)]
pub enum RunError {
    /// The same request would fail again.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// The handler cannot continue: a permanent error, an event that no dead-letter hook accepts, or too many failures.
    #[error("the handler failed: {}", with_sources(_0))]
    Handler(Cause),
    /// A stop came while the handler had a delivery in hand. Its token was not confirmed: it is delivered again.
    #[error("stopped within a frame, which is delivered again{}", reason(cause.as_ref()))]
    Unfinished {
        /// Delivery in hand.
        delivery: Box<Delivery>,
        /// Error of the handler; `None` if it did not return in time.
        cause: Option<Cause>,
    },
}

fn reason(cause: Option<&Cause>) -> String {
    cause.map_or_else(|| ": the handler did not return in time".into(), |cause| format!(": {}", with_sources(cause)))
}

/// Returns an error with its sources: clients of databases name the reason only there.
fn with_sources(cause: &Cause) -> String {
    let sources = std::iter::successors(cause.source(), |error| error.source());
    sources.fold(cause.to_string(), |text, source| format!("{text}: {source}"))
}

impl Consumer {
    /// Passes each delivery to the handler until `stop` completes, and repeats what fails.
    ///
    /// An error of the handler ends the session. After a delay, which grows from 250 ms to 30 s with jitter, the token is loaded
    /// again, because a transaction may have been committed although it reported an error, and the session resumes after it. An
    /// event that the handler rejects with [`HandlerError::Poison`] goes to [`Handler::dead_letter`]. If the builder was given a
    /// cursor file, the token of a handled delivery is stored in it.
    ///
    /// After a stop the handler has [`crate::ConsumerBuilder::stop_wait_max`] to finish the delivery in hand.
    ///
    /// # Errors
    /// Returns a [`RunError`] where a repetition would fail again, and where a stop interrupts the handler.
    pub async fn run<H: Handler>(self, handler: &mut H, stop: impl Future<Output = ()> + Send) -> Result<(), RunError> {
        let stop = Stop { requested: Box::pin(stop), is_requested: false, wait_max: self.settings().stop_wait_max };
        let (backoff, failures) = (Backoff::default(), 0);
        Runner { handled: self.token().cloned(), consumer: self, handler, stop, backoff, failures }.run().await
    }
}

/// One call of `run`.
struct Runner<'a, H> {
    consumer: Consumer,
    handler: &'a mut H,
    stop: Stop<'a>,
    /// Token of the last delivery that was handled, or that was loaded.
    handled: Option<ResumeToken>,
    backoff: Backoff,
    /// Failures of the handler since it handled events or a heartbeat.
    failures: u32,
}

/// End of a session that the runner did not want.
enum End {
    /// That of the run.
    Run(RunError),
    /// An error of the handler, with the delivery in hand.
    Handler(HandlerError, Option<Box<Delivery>>),
}

/// Request of the caller to end.
struct Stop<'a> {
    requested: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    is_requested: bool,
    wait_max: Duration,
}

impl Stop<'_> {
    /// Returns once a stop is requested. Cancel safe.
    async fn requested(&mut self) {
        if !self.is_requested {
            self.requested.as_mut().await;
            self.is_requested = true;
        }
    }

    /// Returns the output of `work`; `None`, with `work` dropped, if a stop comes first.
    async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            // A delivery that arrived with the stop is not handled any more.
            biased;
            () = self.requested() => None,
            output = work => Some(output),
        }
    }

    /// Returns the output of `work`; `None`, with `work` dropped, if it takes too long after a stop.
    async fn bounded<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            output = &mut work => return Some(output),
            () = self.requested() => {}
        }
        tokio::time::timeout(self.wait_max, work).await.ok()
    }
}

impl<H: Handler> Runner<'_, H> {
    async fn run(mut self) -> Result<(), RunError> {
        loop {
            let (error, delivery) = match self.deliver_all().await {
                Ok(()) => return Ok(()),
                Err(End::Run(error)) => return Err(error),
                Err(End::Handler(error, delivery)) => (error, delivery),
            };
            let cause = match error {
                HandlerError::Transient(cause) => cause,
                HandlerError::Permanent(cause) | HandlerError::Poison(_, cause) => {
                    return Err(RunError::Handler(cause));
                }
            };
            if self.stop.is_requested {
                return delivery.map_or(Ok(()), |delivery| Err(unfinished(*delivery, Some(cause))));
            }
            self.back_off(cause, delivery.as_deref()).await?;
        }
    }

    /// Returns after a stop.
    async fn deliver_all(&mut self) -> Result<(), End> {
        let Some(loaded) = self.stop.or(self.handler.load()).await else { return Ok(()) };
        if let Some(token) = loaded.map_err(|error| End::Handler(error, None))? {
            self.handled = Some(token);
        }
        self.consumer.resume_from(self.handled.clone());
        while let Some(delivery) = self.stop.or(self.consumer.next()).await {
            let delivery = delivery.map_err(|error| End::Run(error.into()))?;
            log(&delivery);
            self.deliver(delivery).await?;
        }
        Ok(())
    }

    async fn deliver(&mut self, mut delivery: Delivery) -> Result<(), End> {
        loop {
            let Some(handled) = self.stop.bounded(self.handler.handle(&delivery)).await else {
                return Err(End::Run(unfinished(delivery, None)));
            };
            let (event, cause) = match handled {
                Ok(()) => break,
                Err(HandlerError::Poison(event, cause)) if remove(&mut delivery, &event) => (event, cause),
                Err(error) => return Err(End::Handler(error, Some(delivery.into()))),
            };
            warn!(post_id = event.post_id, cause = with_sources(&cause), "event is a dead letter");
            match self.stop.bounded(self.handler.dead_letter(&event, cause)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(End::Handler(error, Some(delivery.into()))),
                None => return Err(End::Run(unfinished(delivery, None))),
            }
        }
        if let Err(error) = self.consumer.commit(&delivery) {
            return Err(End::Handler(error.into(), Some(delivery.into())));
        }
        // Other deliveries precede the batch that fails in each session.
        if matches!(delivery.content, Content::Events(_) | Content::Notice(Frame::Heartbeat(_))) {
            self.failures = 0;
            self.backoff.reset();
        }
        if let Some(token) = delivery.token {
            self.handled = Some(token);
        }
        Ok(())
    }

    async fn back_off(&mut self, cause: Cause, delivery: Option<&Delivery>) -> Result<(), RunError> {
        self.failures = self.failures.saturating_add(1);
        if self.consumer.settings().handler_failures_max.is_some_and(|max| self.failures >= max) {
            return Err(RunError::Handler(cause));
        }
        let retry_in = self.backoff.next(None, rand::random());
        error!(cause = with_sources(&cause), failures = self.failures, ?retry_in, "handler failed, will retry");
        self.handler.failed(&Failure { cause: &cause, delivery, failures: self.failures, retry_in });
        // `deliver_all` returns at once after a stop.
        self.stop.or(tokio::time::sleep(retry_in)).await;
        Ok(())
    }
}

fn unfinished(delivery: Delivery, cause: Option<Cause>) -> RunError {
    RunError::Unfinished { delivery: Box::new(delivery), cause }
}

/// Takes an event out of a delivery. Returns false if it does not contain it.
fn remove(delivery: &mut Delivery, event: &Event) -> bool {
    let Content::Events(batch) = &mut delivery.content else { return false };
    let Some(index) = batch.events.iter().position(|candidate| candidate == event) else { return false };
    batch.events.remove(index);
    true
}

/// Logs what is no event: a loss, a disconnect, or a notice.
fn log(delivery: &Delivery) {
    for detail in delivery.describe() {
        if delivery.is_loss() {
            error!(detail, "posts are lost");
        } else if let Content::Disconnected(end) = &delivery.content {
            warn!(cause = end.cause, retry_in = ?end.retry_in, "session ended, will reconnect");
        } else {
            info!(detail, "frame received");
        }
    }
}

#[cfg(test)]
mod tests;
