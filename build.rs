//! Generates the gRPC code and the descriptor set for reflection from `proto/`, with protox instead of protoc.

use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["event", "gap", "stream_service", "recovery_service"]
        .map(|name| format!("proto/powerstream/gateway/v1/{name}.proto"));
    for file in &files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(&files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("powerstream.bin");
    std::fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    compile_pre_encoded();
    Ok(())
}

/// StreamService once more, as a server whose Subscribe sends frames that are encoded already.
fn compile_pre_encoded() {
    use tonic_build::manual::{Builder, Method, Service};

    let method = |name: &str, route: &str| Method::builder().name(name).route_name(route);
    let unary = |name: &str, route: &str| {
        method(name, route)
            .input_type(format!("crate::proto::{route}Request"))
            .output_type(format!("crate::proto::{route}Response"))
            .codec_path("tonic_prost::ProstCodec")
            .build()
    };
    let subscribe = method("subscribe", "Subscribe")
        .input_type("crate::proto::SubscribeRequest")
        .output_type("crate::hub::subscription::Frame")
        .codec_path("crate::grpc::codec::FrameCodec")
        .server_streaming()
        .build();
    let service = Service::builder()
        .name("StreamService")
        .package("powerstream.gateway.v1")
        .method(subscribe)
        .method(unary("get_stream_info", "GetStreamInfo"))
        .method(unary("resolve_position", "ResolvePosition"))
        .build();
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("pre_encoded");
    std::fs::create_dir_all(&out).expect("OUT_DIR can be written");
    Builder::new().build_client(false).out_dir(&out).compile(&[service]);
}
