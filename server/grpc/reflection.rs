//! Reflection of the services of a port.

use tonic_reflection::server::{v1, v1alpha};

use crate::proto;

fn descriptors(services: &[&str]) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
    services.iter().fold(builder, |builder, service| builder.with_service_name(*service))
}

/// Reflection v1, which lists these services.
pub fn reflection_v1(services: &[&str]) -> v1::ServerReflectionServer<impl v1::ServerReflection> {
    descriptors(services).build_v1().expect("the descriptors are our own")
}

/// Reflection v1alpha, which lists these services.
pub fn reflection_v1alpha(services: &[&str]) -> v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection> {
    descriptors(services).build_v1alpha().expect("the descriptors are our own")
}
