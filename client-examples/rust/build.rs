//! Generates the client from the gateway's `proto/`, with protox instead of protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In your service: where you keep a copy of the gateway's proto/.
    let root = "../../proto";
    println!("cargo:rerun-if-changed={root}");
    let descriptors = protox::compile(["powerstream/gateway/v1/stream_service.proto"], [root])?;
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    Ok(())
}
