//! Messages and client that `build.rs` generates from `proto/`; the .proto files document them.

#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]

tonic::include_proto!("powerstream.gateway.v1");
