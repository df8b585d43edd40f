//! The stream endpoint: who gets a connection, and what goes over it.
//!
//! Owns: the one log of sent messages, the slots for connections, the request's parameters, and the three ways to be
//! served (live, backfill then live, recovery). Does not own: where posts come from (`post`, `pace`), sockets (`server`).
//!
//! Each connection is a cursor over the log: there is no queue per connection. What X calls its buffer for a slow reader
//! is the distance in bytes between the cursor and the log's end.
//!
//! Invariants
//! - A live connection gets every message that was published since it was admitted, once, in order, unless it is cut.
//! - Backfill comes before live; at the seam nothing is missing.
//! - A slot is free again as soon as its stream is dropped, except where the setting says that X holds it.

mod encode;
mod live;
mod log;
mod params;
mod recovery;
mod seats;

pub(super) use live::Live;
pub(super) use log::{Draft, Log};
pub(super) use params::parse;
pub(super) use recovery::Recovery;
pub(super) use seats::{Ending, Kind, Link, Seat, Seats};

/// What a body yields. It never fails: where a stream is to be cut, the socket is.
pub(super) type Chunk = Result<hyper::body::Frame<bytes::Bytes>, std::convert::Infallible>;
