//! What `build.rs` generates from `proto/`.

#![allow(clippy::enum_variant_names, reason = "generated")]

tonic::include_proto!("powerstream.gateway.v1");
