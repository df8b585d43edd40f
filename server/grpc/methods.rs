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
    /// The right of the setting `grpc.reflection`.
    Reflection,
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
    ("/powerstream.gateway.v1.RuleService/ListRules", Account(Right::RulesRead)),
    ("/powerstream.gateway.v1.RuleService/CheckRules", Account(Right::RulesRead)),
    ("/powerstream.gateway.v1.RuleService/ApplyRules", Account(Right::RulesWrite)),
    ("/powerstream.gateway.v1.RuleService/AddRules", Account(Right::RulesWrite)),
    ("/powerstream.gateway.v1.RuleService/DeleteRules", Account(Right::RulesWrite)),
    ("/powerstream.gateway.v1.RuleService/GetRuleOperation", Account(Right::RulesRead)),
    ("/powerstream.gateway.v1.RuleService/CancelRuleOperation", Account(Right::RulesWrite)),
    ("/powerstream.gateway.v1.RuleService/GetRuleBudget", Account(Right::RulesRead)),
    ("/powerstream.gateway.v1.RuleService/RefreshRules", Account(Right::RulesWrite)),
    ("/powerstream.gateway.v1.RuleService/TestRule", Account(Right::RulesRead)),
    ("/grpc.health.v1.Health/Check", Open),
    ("/grpc.health.v1.Health/Watch", Open),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", MethodRight::Reflection),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", MethodRight::Reflection),
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
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", MethodRight::Reflection),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", MethodRight::Reflection),
];

/// Returns what a caller needs for the method of this path; `None` if the port serves no such method.
pub fn required(port: GrpcPort, path: &str, reflection: Reflection) -> Option<MethodRight> {
    let methods = match port {
        GrpcPort::Clients => METHODS,
        GrpcPort::Admin => ADMIN_METHODS,
    };
    let (_, right) = methods.iter().find(|(own, _)| *own == path)?;
    match (*right, reflection) {
        (MethodRight::Reflection, Reflection::Off) => None,
        (MethodRight::Reflection, Reflection::Authenticated) => Some(Caller),
        (MethodRight::Reflection, Reflection::Open) => Some(Open),
        (right, _) => Some(right),
    }
}

/// Returns what a caller needs for the method of this path on any port; `None` if no such method is known.
pub fn of_any_port(path: &str) -> Option<MethodRight> {
    METHODS.iter().chain(ADMIN_METHODS).find(|(own, _)| *own == path).map(|(_, right)| *right)
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
        for path in &described {
            let rows =
                [GrpcPort::Clients, GrpcPort::Admin].map(|port| required(port, path, Reflection::Open).is_some());
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

    #[test]
    fn reflection_needs_right_of_setting() {
        let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        for (setting, expected) in
            [(Reflection::Open, Some(Open)), (Reflection::Authenticated, Some(Caller)), (Reflection::Off, None)]
        {
            for port in [GrpcPort::Clients, GrpcPort::Admin] {
                assert_eq!(required(port, path, setting), expected);
            }
            assert_eq!(required(GrpcPort::Clients, "/grpc.health.v1.Health/Check", setting), Some(Open));
        }
    }
}
