//! Account state that sessions and RPCs read in addition to its records: gaps, tags, and the upstream state.
//!
//! Owns the gaps with the low watermark ([`gap_index`]), the rates of tags ([`tag_stats`]) and the state of the
//! upstream connections ([`upstream_status`]). Does not own their updates (by the sequencer, the gap tracker, the
//! supervisor of a connection) or the lateness of the low watermark (`lateness`).

pub(super) mod gap_index;
pub(super) mod tag_stats;
pub mod upstream_status;
