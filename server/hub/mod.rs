//! Fan-out: one log, any number of cursors.
//!
//! Every subscriber is a cursor. It reads the hot tail from the [`ring`] and older records from the journal, through
//! [`Hub::read`], so replay and live delivery are one sequence. It waits in the index of [`wakeup`] until a batch may
//! match. There is no event queue per subscriber and no broadcast: a slow subscriber does not affect the others (I10),
//! and lag never means loss.
//!
//! # Modules
//!
//! [`Hub`] (publish, read) · `entry` (a record, encoded once) · `entry::batch` (encoded batches) · `ring` · `filter` ·
//! `wakeup` · `token` · `cold` (journal reads, `cold::page_cache`) · `fanout` (groups of sessions with equal filters) ·
//! `start` (start position of a session) · `side_log` (posts of private gaps) · `session` (the pull loop,
//! `session::registry`).
//!
//! Does not own: writing the log (`ingest`), the wire format of frames (`grpc`).
//!
//! Invariants and their tests:
//! - I1, I3, I4, I5, I6: `session::tests::any_cut_resumes_without_loss_or_repeat`.
//! - A narrow cursor never scans, and misses nothing: `ring::tests::indexed_read_equals_full_scan`.
//! - A page of the journal is read once for all sessions, and is never returned after it was trimmed: `cold::tests`.
//! - No wake-up is lost: a session parks, checks the log once more, and only then waits; a publisher appends, and only
//!   then notifies. `tests/wakeup-model` checks this under loom and shuttle, on the source of [`wakeup`] itself.

mod activity;
mod cold;
mod config;
mod core;
pub mod entry;
mod fanout;
pub mod filter;
pub mod gauges;
mod lateness;
mod live_config;
mod metrics;
mod progress;
mod read;
mod ring;
pub mod session;
pub mod side_log;
mod skip_delay;
pub mod start;
pub mod status;
mod subscribed_tags;
mod sync;
#[cfg(test)]
pub(crate) mod test_util;
mod times;
pub mod token;
mod wakeup;

pub use activity::{ActivitySnapshot, SessionActivity};
pub use config::Config;
pub use core::{Hub, HubParts};
pub use fanout::{FilterLimitReached, GroupMember};
pub use lateness::Lateness;
pub use live_config::LiveConfig;
pub use metrics::{Metrics, SessionCounters};
pub use read::{HubReadError, Read};
pub use ring::ReadLimits;
pub use session::registry::{
    DrainCause, DrainNotice, SessionEntry, SessionGuard, SessionInfo, SessionLimitReached, SessionRegistry, Termination,
};
pub use side_log::SideLog;
pub use skip_delay::SkipDelay;
pub use status::gap_index::GapIndex;
pub use status::tag_stats::TagInfo;
pub use times::ClockCorrections;
