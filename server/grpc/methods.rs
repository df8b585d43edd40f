//! The right that each method needs. A method without a row is refused.

use crate::access::Right;

/// What a caller needs for a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodRight {
    /// Nothing; what the method reports depends on the caller's rights.
    Open,
    /// Any accepted credential, or anonymous access.
    Caller,
    /// Any accepted credential; the list has only accounts on which the caller has this right.
    Each(Right),
    /// This right on the account of the request.
    Account(Right),
    /// This right on every account of the gateway: the method is about the process.
    Process(Right),
}

/// A port that serves gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcPort {
    /// The gRPC port.
    Clients,
    /// The admin port.
    Admin,
}

use MethodRight::{Account, Caller, Each, Open, Process};

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
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Caller),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Caller),
];

/// Every method of the admin port.
const ADMIN_METHODS: &[(&str, MethodRight)] = &[
    ("/powerstream.gateway.v1.AdminService/ListAccounts", Each(Right::Status)),
    ("/powerstream.gateway.v1.AdminService/ListSessions", Each(Right::Status)),
    ("/powerstream.gateway.v1.AdminService/TerminateSession", Account(Right::Admin)),
    ("/powerstream.gateway.v1.AdminService/Drain", Process(Right::Admin)),
    ("/powerstream.gateway.v1.AdminService/Undrain", Process(Right::Admin)),
    ("/powerstream.gateway.v1.AdminService/SetLogFilter", Process(Right::Admin)),
    ("/powerstream.gateway.v1.AdminService/GetConfig", Process(Right::Admin)),
    ("/powerstream.gateway.v1.AdminService/Reload", Process(Right::Admin)),
    ("/powerstream.gateway.v1.AdminService/WhoAmI", Caller),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Caller),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Caller),
];

/// Returns what a caller needs for the method of this path; `None` if the port serves no such method.
pub fn required(port: GrpcPort, path: &str) -> Option<MethodRight> {
    let methods = match port {
        GrpcPort::Clients => METHODS,
        GrpcPort::Admin => ADMIN_METHODS,
    };
    methods.iter().find(|(own, _)| *own == path).map(|(_, right)| *right)
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
        for path in &described {
            let rows = [GrpcPort::Clients, GrpcPort::Admin].map(|port| required(port, path).is_some());
            let expected = match () {
                () if path.contains("AdminService") => [false, true],
                () if path.contains("reflection") => [true, true],
                () => [true, false],
            };
            assert_eq!(rows, expected, "{path}");
        }
        for (path, _) in METHODS.iter().chain(ADMIN_METHODS) {
            assert!(described.iter().any(|own| own == path), "{path} does not exist");
        }
    }
}
