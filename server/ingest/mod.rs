//! ingest

pub mod dedup;
