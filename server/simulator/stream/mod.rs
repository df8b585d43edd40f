//! Stream endpoint: admission of connections, and their content.
//!
//! Owns: the one log of sent messages, the slots for connections, the request's parameters, and the three ways to be
//! served (live, backfill then live, recovery). Does not own: where posts come from (`post`, `producer`), sockets (`server`).
//!
//! Each connection is a cursor over the log: there is no queue per connection, only the backfill that it was admitted with.
//! What X calls its buffer for a slow reader is the distance in bytes between the cursor and the log's end. What streams
//! have in common, their faults above all, is in `core`.
//!
//! Invariants
//! - A live connection gets every message that was published since it was admitted, once, in order, unless it is cut.
//! - Backfill is exactly what is as old as was asked for or newer; at the seam to live nothing is missing
//!   (`tests::history`: `backfill_precedes_live_without_loss`).
//! - A recovery job sends its window minute by minute, independent of connections at the time (`tests::recovery`:
//!   `recovery_resends_window_and_completes`).
//! - A slot is free as soon as its stream is dropped, unless the setting keeps it occupied.

mod core;
mod encode;
mod handle;
mod live;
mod params;
mod post_log;
mod recovery;
mod slots;

pub(super) use handle::{StreamEnd, StreamHandle, StreamKind};
pub(super) use live::LiveStream;
pub(super) use params::{ParamError, is_recovery, parse};
pub(super) use post_log::{PostLog, PublishTime, UnsentPost};
pub(super) use recovery::RecoveryStream;
pub(super) use slots::{SlotLimits, SlotRequest, StreamSlotGuard, StreamSlots};

/// What a body yields. It never fails: where a stream is to be cut, the socket is.
pub(super) type BodyFrame = Result<hyper::body::Frame<bytes::Bytes>, std::convert::Infallible>;
