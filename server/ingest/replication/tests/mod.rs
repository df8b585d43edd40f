//! Tests of replication over the memory backend, on virtual time.
//!
//! Owns: simulated machines whose processes crash and freeze, and an independent reader of the shared log. Does not own:
//! the faults of the shared log (`quorum::memory`).
//!
//! `property` runs three replicas with random faults (`simulation`, `machine`) and compares their logs with the shared
//! log (`comparison`). `appender` has each answer of the shared log, `following` what a follower refuses, `healing` a shared log that lost its tail,
//! `log_head` one that was deleted, `filling` where an empty replica begins.

mod appender;
mod comparison;
mod filling;
mod following;
mod healing;
mod log_end;
mod log_head;
mod machine;
mod property;
mod simulation;
