//! Account state that sessions and RPCs read in addition to its records: gaps, tags, and the upstream state.
//!
//! Owns the gaps with the low watermark ([`gap_index`]), the rates of tags ([`tag_stats`]), the state of the
//! upstream connections ([`upstream_status`]), its last 24 h ([`upstream_timeline`]), and the interface of other replicas
//! ([`replica_link`]). Does not own their updates (by the sequencer, the gap tracker, the
//! supervisor of a connection) or the lateness of the low watermark (`lateness`).

pub(super) mod gap_index;
pub mod replica_link;
pub(super) mod tag_stats;
pub mod upstream_status;
pub mod upstream_timeline;
