//! powerstream-gateway: one Powerstream connection per account, one durable log, any number of gRPC subscribers, each
//! with its own tag filter and resume token.
//!
//! Modules in reading order, by layer. A module may import only modules of lower layers, and its own submodules
//! (`tests/it/architecture`).

/// The allocator of the program, for unit tests: hostile histories allocate much.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod codec;
pub mod model;
pub mod proto;
pub mod state_file;

pub mod backoff;
pub mod buffer_pool;
pub mod clock;
pub mod escape;
pub mod query;
pub mod secret;
pub mod task;

pub mod quorum;
pub mod telemetry;
pub mod tls;
pub mod xapi;

pub mod access;
pub mod journal;
pub mod lease;
pub mod rules;
pub mod simulator;
pub mod upstream;

pub mod gateway;
pub mod hub;
pub mod ingest;

pub mod grpc;
pub mod http;

pub mod app;
pub mod cli;
pub mod config;
