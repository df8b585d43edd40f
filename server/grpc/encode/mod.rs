//! The bytes of messages: what all sessions of a fan-out group share, and what each session adds.
//!
//! Owns the prefix of a message, the encoding of batches from shared slices, and their compressed variants. Does not own
//! the encoding of a single event (`hub::entry`) or the order of frames (`hub::session`).
//! A shared batch is never copied for a session: only its own suffix is written.

pub(super) mod batch;
pub(super) mod compress;
pub(super) mod message;
