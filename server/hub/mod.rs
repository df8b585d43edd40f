//! Fan-out: one log, any number of cursors on it.
//!
//! Every subscriber is a cursor. It reads the hot tail from the [`ring`] and anything older from the journal, through
//! [`Hub::read`], so replay and live have no seam; it waits in the index of [`wakeup`] sessions until a batch may be for
//! it. There is no queue of events per subscriber and no broadcast: a slow one costs the others nothing (I10), and lag is
//! never loss.
//!
//! Reading order: [`Hub`] (publish, read) · `entry` (a record, encoded once) · `ring` · `filter` · `wakeup` · `token` ·
//! `cold` (turns at the journal) · `cold::page_cache` (what of it is shared) · `entry::batch` (events that go out together) · `fanout` (sessions with the same filter) · `start` (where a session begins) · `side_log` (what only some subscriptions lack) · `session` (the pull loop) · `session::registry` (who is there).
//!
//! Does not own: who writes the log (`ingest`), what a frame looks like on the wire (`grpc`).
//!
//! Invariants and the tests that hold them:
//! - I1, I3, I4, I5, I6: `session::tests::any_cut_resumes_without_loss_or_repeat`.
//! - A narrow cursor never scans, and misses nothing: `ring::tests::indexed_read_equals_full_scan`.
//! - A page of the journal is read once for all that want it, and is never given after it was trimmed: `cold::tests`.
//! - No wake is lost: a session parks, looks once more, and only then waits; a publisher pushes, and only then wakes.
//!   `tests/wakeup-model` checks that under loom and shuttle, on the source of [`wakeup`] itself.

mod cold;
mod config;
mod core;
pub mod entry;
mod fanout;
pub mod filter;
mod lateness;
mod metrics;
mod read;
mod ring;
pub mod session;
pub mod side_log;
pub mod start;
pub mod status;
mod sync;
#[cfg(test)]
pub(crate) mod test_util;
mod times;
pub mod token;
mod wakeup;

pub use config::Config;
pub use core::{Hub, HubParts};
pub use fanout::{FilterLimitReached, GroupMember};
pub use lateness::Lateness;
pub use metrics::{Metrics, SessionCounters};
pub use read::{Read, ReadError};
pub use ring::ReadLimits;
pub use session::registry::{DrainNotice, SessionGuard, SessionInfo, SessionLimitReached, SessionRegistry};
pub use side_log::SideLog;
pub use status::gap_index::GapIndex;
pub use status::tag_stats::TagInfo;
pub use times::ClockCorrections;
