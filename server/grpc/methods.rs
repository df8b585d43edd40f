//! The right that each method needs. A method without a row is refused.

use super::config::Reflection;
use crate::access::Right;

/// What a caller needs for a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodRight {
    /// Nothing; what the method reports depends on the caller's rights.
    Open,
    /// Any accepted credential, or anonymous access.
    Caller,
    /// What the setting `grpc.reflection` says.
    Reflection,
    /// Any accepted credential; the list has only accounts on which the caller has this right.
    Each(Right),
    /// This right on the account of the request.
    Account(Right),
}

use MethodRight::{Account, Caller, Each, Open};

/// Every method of the gRPC port.
const METHODS: &[(&str, MethodRight)] = &[
    ("/powerstream.gateway.v1.StreamService/Subscribe", Account(Right::Read)),
    ("/powerstream.gateway.v1.StreamService/ListStreams", Each(Right::Read)),
    ("/powerstream.gateway.v1.StreamService/GetStream", Account(Right::Read)),
    ("/powerstream.gateway.v1.StreamService/ListTags", Account(Right::Read)),
    ("/powerstream.gateway.v1.StreamService/ResolvePosition", Account(Right::Read)),
    ("/powerstream.gateway.v1.RecoveryService/ListGaps", Account(Right::Read)),
    ("/powerstream.gateway.v1.RecoveryService/ListRecoveryJobs", Account(Right::Read)),
    ("/powerstream.gateway.v1.RecoveryService/GetCoverage", Account(Right::Read)),
    ("/powerstream.gateway.v1.RecoveryService/CreateRecoveryJob", Account(Right::Recover)),
    ("/powerstream.gateway.v1.RecoveryService/CancelRecoveryJob", Account(Right::Recover)),
    ("/grpc.health.v1.Health/Check", Open),
    ("/grpc.health.v1.Health/Watch", Open),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", MethodRight::Reflection),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", MethodRight::Reflection),
];

/// Returns what a caller needs for the method of this path; `None` if no such method is known, or it is not served.
pub fn required(path: &str, reflection: Reflection) -> Option<MethodRight> {
    let (_, right) = METHODS.iter().find(|(own, _)| *own == path)?;
    match (*right, reflection) {
        (MethodRight::Reflection, Reflection::Off) => None,
        (MethodRight::Reflection, Reflection::Authenticated) => Some(Caller),
        (MethodRight::Reflection, Reflection::Open) => Some(Open),
        (right, _) => Some(right),
    }
}

/// Returns the names of all methods: service and method.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    METHODS.iter().filter_map(|(path, _)| split(path))
}

/// Returns the name of the method with this path: service and method. `None` if no such method is known.
pub fn name(path: &str) -> Option<(&'static str, &'static str)> {
    METHODS.iter().find(|(own, _)| *own == path).and_then(|(own, _)| split(own))
}

fn split(path: &'static str) -> Option<(&'static str, &'static str)> {
    path.strip_prefix('/')?.split_once('/')
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// A method that is added to the proto without a row would be refused in production; this finds it before.
    #[test]
    fn every_method_has_row() {
        let mut described = Vec::new();
        let sets = [
            crate::proto::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        for set in sets {
            for file in FileDescriptorSet::decode(set).expect("our own").file {
                for service in &file.service {
                    let path = |method: &str| format!("/{}.{}/{method}", file.package(), service.name());
                    described.extend(service.method.iter().map(|method| path(method.name())));
                }
            }
        }
        assert_eq!(described.len(), METHODS.len(), "{described:?}");
        for path in &described {
            assert!(required(path, Reflection::Open).is_some(), "{path} has no row");
        }
        for (path, _) in METHODS {
            assert!(described.iter().any(|own| own == path), "{path} does not exist");
        }
    }

    #[test]
    fn reflection_needs_what_its_setting_says() {
        let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        for (setting, expected) in
            [(Reflection::Open, Some(Open)), (Reflection::Authenticated, Some(Caller)), (Reflection::Off, None)]
        {
            assert_eq!(required(path, setting), expected);
            assert_eq!(required("/grpc.health.v1.Health/Check", setting), Some(Open));
        }
    }
}
