//! What sessions and RPCs read of an account besides its records: gaps, tags, and the state of the upstream.
//!
//! Owns the list of gaps with the low watermark ([`gap_index`]), the rates of tags ([`tag_stats`]) and the state of the
//! upstream connections ([`upstream_status`]). Does not own who writes them (the sequencer, the gap tracker, the supervisor
//! of a connection) or the low watermark's lateness (`lateness`).

pub(super) mod gap_index;
pub(super) mod tag_stats;
pub mod upstream_status;
