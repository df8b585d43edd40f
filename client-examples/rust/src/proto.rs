//! What `build.rs` generates from `proto/`.

tonic::include_proto!("powerstream.gateway.v1");
