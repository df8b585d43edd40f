//! Generates the client from the gateway's `proto/`, with protox instead of protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A link to the gateway's proto/; in the package a copy.
    let root = "proto";
    println!("cargo:rerun-if-changed={root}");
    let descriptors = protox::compile(["powerstream/gateway/v1/stream_service.proto"], [root])?;
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    Ok(())
}
