//! Model of the wake-up index: the source of `server/hub/wakeup.rs` itself, compiled once with the primitives of loom and
//! once with those of shuttle.
//!
//! Responsibilities: [`hub`](loom::hub) is a publisher, sessions and heartbeats around the index; `tests/` has the models.
//! `mutants.sh` breaks the index in one place at a time and requires that a model finds it.
//!
//! # What is real and what is modelled
//!
//! - Real: `server/hub/wakeup.rs` and `server/model/key.rs`, included by path.
//! - Replaced: `server/hub/sync.rs` by [`loom::sync`] and [`shuttle::sync`]. The types have the methods that the index
//!   uses, no others.
//! - Reduced: [`entry`] and [`model`] have what the index reads; the compiler reports anything else.
//! - Mirrored: the order of steps in `Hub::publish` (`server/hub/core.rs`) and in `wait_for_records`
//!   (`server/hub/session/waiting.rs`). `tests/it/architecture/wakeup.rs` compares it with the sources.

pub mod entry;
pub mod loom;
pub mod model;
pub mod shuttle;
