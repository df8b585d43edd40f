use std::error::Error;
use std::future::ready;
use std::time::Duration;

use crate::delivery::{Delivery, ResumeToken};
use crate::proto::Event;

/// Error of a handler.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Code of a service that [`crate::Consumer::run`] calls.
///
/// Any error converts to [`HandlerError::Transient`], so that `?` is enough where a repetition may succeed. A method that
/// blocks its thread, as with a synchronous database, belongs into `tokio::task::block_in_place`.
pub trait Handler: Send {
    /// Returns the token that was stored last. It is called at the start and after each failure.
    ///
    /// `None`: the consumer continues after the last delivery that was handled, and begins at the start position of its builder.
    fn load(&mut self) -> impl Future<Output = Result<Option<ResumeToken>, HandlerError>> + Send {
        ready(Ok(None))
    }

    /// Makes the effect of a delivery durable, together with its token.
    ///
    /// It is called with each delivery, also with notices: without their tokens, a consumer of rare events has an
    /// old position.
    fn handle(&mut self, delivery: &Delivery) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// Receives each failure after which the delivery is repeated.
    fn failed(&mut self, failure: &Failure<'_>) {
        let _ = failure;
    }

    /// Makes an event durable that [`Handler::handle`] has rejected with [`HandlerError::Poison`]. The events are then handled
    /// again without it. A kill between the two repeats the call.
    ///
    /// A handler without this method ends [`crate::Consumer::run`] with `cause`.
    fn dead_letter(&mut self, event: &Event, cause: Cause) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let _ = event;
        ready(Err(HandlerError::Permanent(cause)))
    }
}

/// How a handler failed.
#[derive(Debug)]
pub enum HandlerError {
    /// A repetition may succeed: the session ends, the token is loaded again, and the delivery is repeated after a delay.
    Transient(Cause),
    /// No repetition succeeds: [`crate::Consumer::run`] returns the cause.
    Permanent(Cause),
    /// This event of the delivery can never be handled: it becomes a dead letter.
    Poison(Box<Event>, Cause),
}

impl HandlerError {
    /// Returns an error that a repetition may resolve.
    pub fn transient(cause: impl Into<Cause>) -> Self {
        Self::Transient(cause.into())
    }

    /// Returns an error that no repetition resolves.
    pub fn permanent(cause: impl Into<Cause>) -> Self {
        Self::Permanent(cause.into())
    }

    /// Returns the rejection of an event of the delivery in hand.
    pub fn poison(event: &Event, cause: impl Into<Cause>) -> Self {
        Self::Poison(Box::new(event.clone()), cause.into())
    }
}

// `HandlerError` itself is no `Error`: this conversion would then overlap with that of a type to itself.
impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::Transient(error.into())
    }
}

/// An error of a handler after which the delivery is repeated.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Failure<'a> {
    /// The error.
    pub cause: &'a Cause,
    /// Delivery in hand; `None` if [`Handler::load`] failed.
    pub delivery: Option<&'a Delivery>,
    /// Failures in succession, this one included.
    pub failures: u32,
    /// Delay before [`Handler::load`] is called and the consumer reconnects.
    pub retry_in: Duration,
}
