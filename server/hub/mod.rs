//! Fan-out: one log, any number of cursors on it.
//!
//! Every subscriber is a cursor. It reads the hot tail from the [`ring`] and anything older from the journal, through
//! [`Hub::read`], so replay and live have no seam; it waits in the index of [`parked`] sessions until a batch may be for
//! it. There is no queue of events per subscriber and no broadcast: a slow one costs the others nothing (I10), and lag is
//! never loss.
//!
//! Reading order: [`Hub`] (publish, read) · `entry` (a record, encoded once) · `ring` · `filter` · `parked` · `token` ·
//! `cold` (turns at the journal) · `pages` (what of it is shared) · `chunk` (events that go out together) · `audience` (sessions with the same filter) · `start` (where a session begins) · `side` (what only some lineages lack) · `subscription` (the pull loop) · `registry` (who is there).
//!
//! Does not own: who writes the log (`ingest`), what a frame looks like on the wire (`grpc`).
//!
//! Invariants and the tests that hold them:
//! - I1, I3, I4, I5, I6: `subscription::tests::any_cut_resumes_without_loss_or_repeat`.
//! - A narrow cursor never scans, and misses nothing: `ring::tests::an_indexed_read_finds_what_a_full_scan_finds`.
//! - A page of the journal is read once for all that want it, and is never given after it was trimmed: `cold::tests`.
//! - No wake is lost: a session parks, looks once more, and only then waits; a publisher pushes, and only then wakes.
//!   `tests/wakeup-model` checks that under loom and shuttle, on the source of [`parked`] itself.

mod audience;
pub mod chunk;
mod cold;
mod config;
pub mod entry;
pub mod filter;
#[cfg(test)]
pub(crate) mod fixtures;
mod gaps;
mod lateness;
mod log;
mod metrics;
mod pages;
mod parked;
mod registry;
mod ring;
pub mod side;
pub mod start;
pub mod subscription;
mod sync;
mod tags;
mod times;
pub mod token;
pub mod upstream;

pub use audience::{FilterLimitReached, Seat};
pub use config::Config;
pub use gaps::Gaps;
pub use lateness::Lateness;
pub use log::{Hub, Parts, Read, ReadError};
pub use metrics::{Metrics, SessionCounters};
pub use registry::{Closing, Full, Guest, Registry, SessionInfo};
pub use ring::Limits;
pub use side::Side;
pub use tags::TagInfo;
pub use times::Times;
