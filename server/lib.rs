//! powerstream-gateway: one Powerstream connection per account, one durable log, any number of gRPC subscribers, each
//! with its own tag filter and resume token.
//!
//! Rooms in reading order, by floor; a file imports only from floors below its own, or from its own room
//! (`tests/it/architecture` holds this).

pub mod model;
pub mod proto;
pub mod state_file;

pub mod backoff;
pub mod buffer_pool;
pub mod clock;
pub mod escape;
pub mod secret;
pub mod task;

pub mod telemetry;
pub mod xapi;

pub mod journal;
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
