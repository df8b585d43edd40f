use http::HeaderMap;
use http::header::AUTHORIZATION;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tonic::Code;

use super::methods::{self, MethodRight};
use crate::access::{CredentialKind, Right};
use crate::telemetry::metrics::Registry;

/// Metrics of the gRPC server. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    handled: Family<HandledLabels, Counter>,
    connections: Gauge,
    connections_refused: Family<ReasonLabel, Counter>,
    authentications: Family<AuthenticationLabels, Counter>,
    denied: Family<RightLabel, Counter>,
}

/// Labels of a finished call, with the names of other gRPC servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandledLabels {
    grpc_service: &'static str,
    grpc_method: &'static str,
    grpc_code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuthenticationLabels {
    kind: &'static str,
    outcome: &'static str,
    /// Reason of a refusal, as clients see it.
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RightLabel {
    right: &'static str,
}

/// Why a connection was closed before its first call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRefusal {
    /// All places are in use.
    Limit,
    /// The first bytes did not arrive in time.
    FirstBytes,
    /// The TLS handshake failed.
    Tls,
}

impl ConnectionRefusal {
    const ALL: [Self; 3] = [Self::Limit, Self::FirstBytes, Self::Tls];

    fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::FirstBytes => "first_bytes",
            Self::Tls => "tls",
        }
    }
}

/// Codes by their number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Kinds of refused credentials, and the reasons that each can have.
const REFUSALS: [(&str, &[&str]); 5] = [
    ("none", &["CREDENTIALS_MISSING"]),
    ("malformed", &["CREDENTIALS_INVALID"]),
    ("token", &["CREDENTIALS_INVALID", "CREDENTIALS_EXPIRED"]),
    ("certificate", &["CREDENTIALS_INVALID", "CREDENTIALS_EXPIRED"]),
    ("jwt", &["CREDENTIALS_INVALID", "CREDENTIALS_EXPIRED", "AUTH_UNAVAILABLE"]),
];

/// Method of calls to methods that do not exist.
const UNKNOWN: (&str, &str) = ("unknown", "unknown");

fn code_name(code: Code) -> &'static str {
    CODES.get(code as usize).copied().unwrap_or("Unknown")
}

impl Metrics {
    /// Registers the metrics. All counters begin at 0.
    pub fn register(registry: &Registry) -> Self {
        let own = Self::default();
        for (service, method) in methods::names().chain([UNKNOWN]) {
            CODES.iter().for_each(|code| drop(own.handled(service, method, code)));
        }
        for reason in ConnectionRefusal::ALL.map(ConnectionRefusal::name) {
            drop(own.connections_refused.get_or_create(&ReasonLabel { reason }));
        }
        let kinds =
            [CredentialKind::Anonymous, CredentialKind::Token, CredentialKind::Certificate, CredentialKind::Jwt];
        kinds.iter().for_each(|kind| drop(own.authentications(kind.name(), "ok", "")));
        for (kind, reasons) in REFUSALS {
            reasons.iter().for_each(|reason| drop(own.authentications(kind, "refused", reason)));
        }
        for right in Right::ALL {
            drop(own.denied.get_or_create(&RightLabel { right: right.name() }));
        }
        registry.common(|part| {
            let help = "Total gRPC calls that ended, by method and code";
            part.register("grpc_server_handled", help, own.handled.clone());
        });
        registry.process(|part| {
            part.register("connections", "Open connections of the gRPC port", own.connections.clone());
            let help = "Total connections of the gRPC port closed before their first call, by reason";
            part.register("connections_refused", help, own.connections_refused.clone());
            let help = "Total authenticated and refused calls, by kind of credential, outcome and reason";
            part.register("authentications", help, own.authentications.clone());
            let help = "Total calls denied for a missing right, by right";
            part.register("authorizations_denied", help, own.denied.clone());
        });
        own
    }

    fn handled(&self, grpc_service: &'static str, grpc_method: &'static str, grpc_code: &'static str) -> Counter {
        self.handled.get_or_create_owned(&HandledLabels { grpc_service, grpc_method, grpc_code })
    }

    fn authentications(&self, kind: &'static str, outcome: &'static str, reason: &'static str) -> Counter {
        self.authentications.get_or_create_owned(&AuthenticationLabels { kind, outcome, reason })
    }

    /// Begins a call of the method with this path.
    pub fn begin_call(&self, path: &str) -> HandledCall {
        let method = methods::name(path).unwrap_or(UNKNOWN);
        HandledCall { metrics: self.clone(), method, is_counted: false }
    }

    /// Counts a connection as long as the guard exists.
    pub fn open_connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// Counts a connection that was closed before its first call.
    pub fn count_refused_connection(&self, reason: ConnectionRefusal) {
        self.connections_refused.get_or_create(&ReasonLabel { reason: reason.name() }).inc();
    }

    /// Counts an authenticated call.
    pub fn count_authenticated(&self, kind: CredentialKind) {
        self.authentications(kind.name(), "ok", "").inc();
    }

    /// Counts a call that was refused for its credential.
    pub fn count_refused(&self, headers: &HeaderMap, has_certificate: bool, reason: &str) {
        let kind = offered_kind(headers, has_certificate);
        let known = REFUSALS.iter().flat_map(|(_, reasons)| *reasons).find(|known| **known == reason);
        self.authentications(kind, "refused", known.copied().unwrap_or("other")).inc();
    }

    /// Counts a call of the method with this path that the caller's rights do not allow.
    pub fn count_denied(&self, path: &str) {
        let right = match methods::of_any_port(path) {
            Some(MethodRight::Account(right) | MethodRight::Each(right)) => right.name(),
            _ => Right::Read.name(),
        };
        self.denied.get_or_create(&RightLabel { right }).inc();
    }
}

/// Returns the kind of credential that a refused call has offered.
fn offered_kind(headers: &HeaderMap, has_certificate: bool) -> &'static str {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    let token = first.and_then(|value| value.to_str().ok()).and_then(|text| text.split_once(' '));
    match (first, second, token) {
        (None, ..) if has_certificate => "certificate",
        (None, ..) => "none",
        (Some(_), None, Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => {
            if token.bytes().filter(|byte| *byte == b'.').count() == 2 { "jwt" } else { "token" }
        }
        _ => "malformed",
    }
}

/// An open connection.
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A call that is counted once: when its status is sent, or as cancelled when it is dropped before.
pub struct HandledCall {
    metrics: Metrics,
    method: (&'static str, &'static str),
    is_counted: bool,
}

impl HandledCall {
    /// Counts the call.
    pub fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.is_counted, true) {
            let (service, method) = self.method;
            self.metrics.handled(service, method, code_name(code)).inc();
        }
    }
}

impl Drop for HandledCall {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::model::UnixMillis;

    #[test]
    fn call_is_counted_once_by_code() {
        let registry = Registry::new(UnixMillis(0));
        let metrics = Metrics::register(&registry);
        let mut ended = metrics.begin_call("/grpc.health.v1.Health/Check");
        ended.end(Code::NotFound);
        ended.end(Code::Ok);
        drop((ended, metrics.begin_call("/grpc.health.v1.Health/Watch"), metrics.begin_call("/x/\n")));
        let text = registry.encode();
        let sample = |method: &str, code: &str, count: u32| {
            format!("grpc_server_handled_total{{{method},grpc_code=\"{code}\"}} {count}\n")
        };
        let health = |method: &str| format!("grpc_service=\"grpc.health.v1.Health\",grpc_method=\"{method}\"");
        let unknown = "grpc_service=\"unknown\",grpc_method=\"unknown\"";
        for expected in [
            sample(&health("Check"), "NotFound", 1),
            sample(&health("Check"), "OK", 0),
            sample(&health("Watch"), "Canceled", 1),
            sample(unknown, "Canceled", 1),
        ] {
            assert!(text.contains(&expected), "{expected} in {text}");
        }
    }

    #[test]
    fn offered_credentials_have_kinds() {
        for (values, has_certificate, expected) in [
            (vec![], false, "none"),
            (vec![], true, "certificate"),
            (vec!["Bearer psg_x_y"], true, "token"),
            (vec!["bearer a.b.c"], false, "jwt"),
            (vec!["Basic a"], false, "malformed"),
            (vec!["Bearer a", "Bearer b"], false, "malformed"),
        ] {
            let mut headers = HeaderMap::new();
            for value in values.iter().copied() {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(offered_kind(&headers, has_certificate), expected, "{values:?}");
        }
    }
}
