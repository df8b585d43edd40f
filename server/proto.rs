//! The generated gRPC types of `proto/`, and nothing else. Their documentation is in the .proto files.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

tonic::include_proto!("powerstream.gateway.v1");

/// Descriptors of all files of `proto/`, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/powerstream.bin"));
