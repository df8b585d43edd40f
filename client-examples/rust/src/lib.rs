//! A consumer of powerstream-gateway: subscribes, reconnects, resumes without loss, and verifies the delivery contract.
//!
//! It implements the loop of `client-examples/PROTOCOL.md`. [`Consumer::next`] returns the next [`Delivery`]: events, a gap,
//! a notice of the gateway, or a disconnect, after which the following call waits and reconnects. [`Consumer::commit`] stores
//! the resume token of a delivery whose effect is durable; after a restart the consumer continues behind it.
//!
//! ```no_run
//! use powerstream_consumer::{Consumer, Content, CursorFile, Start};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut consumer = Consumer::builder("http://127.0.0.1:50051")
//!     .consumer("indexer")
//!     .any_of(["cats", "dogs*"])
//!     .start(Start::Earliest)
//!     .cursor_file(CursorFile::open("indexer.cursor".as_ref())?)
//!     .build()?;
//! loop {
//!     let delivery = consumer.next().await?;
//!     match &delivery.content {
//!         Content::Events(batch) => batch.events.iter().for_each(|event| println!("{}", event.json)),
//!         _ => delivery.describe().iter().for_each(|line| eprintln!("{line}")),
//!     }
//!     consumer.commit(&delivery)?;
//! }
//! # }
//! ```
//!
//! [`Consumer::run`] is that loop for a service whose code can fail: it calls a [`Handler`], repeats what failed, and passes
//! events that the handler rejects for good to a dead-letter hook. [`Consumer::into_stream`] is the loop as a `Stream`.
//!
//! Owns: connecting with the current credential, the retry policy, the watchdog for silent sessions, the validation of each
//! session, the cursor file, and the repetition of a handler. Does not own: effects of events, output, signals.
//!
//! # Invariants
//! - A token is stored only by `commit`. A process that was killed therefore misses no event: those after the last commit are
//!   delivered again.
//! - A session resumes behind the last delivery that `next` returned, so that a reconnect repeats nothing.
//! - Nothing of a frame that violates the contract is returned, and its token is not used.

mod backoff;
mod builder;
mod channel;
mod consumer;
mod credential;
mod cursor_file;
mod delivery;
mod describe;
mod handler;
mod limits;
pub mod proto;
mod retry_policy;
mod run;
mod session;
mod validator;
mod wire_time;

pub use builder::{ConsumerBuilder, OptionError, Start};
pub use channel::{connect, endpoint};
pub use consumer::{Consumer, ConsumerError};
pub use credential::{CredentialError, CredentialFiles};
pub use cursor_file::{CursorError, CursorFile};
pub use delivery::{Content, Delivery, Disconnected, ResumeToken};
pub use describe::printable;
pub use handler::{Cause, Failure, Handler, HandlerError};
pub use limits::{STOP_WAIT_MAX, UNSOUND_MAX};
pub use prost_types::Timestamp;
pub use retry_policy::{Refusal, RefusalKind, innermost};
pub use run::RunError;
pub use validator::ContractViolation;
