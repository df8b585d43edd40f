use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Port;

/// Label: port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ListenerLabel {
    pub(super) listener: &'static str,
}

/// Labels of a handshake.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HandshakeLabels {
    pub(super) listener: &'static str,
    /// `completed`, or the name of the failure.
    pub(super) outcome: &'static str,
    /// TLS version; `none` if the handshake failed.
    pub(super) version: &'static str,
}

/// Label: what was reloaded, as a path of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SubjectLabel {
    pub(super) what: &'static str,
}

/// Labels of reloads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReloadLabels {
    pub(super) what: &'static str,
    pub(super) outcome: &'static str,
}

/// Metrics of TLS, of all ports.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) handshakes: Family<HandshakeLabels, Counter>,
    pub(super) certificate_expiry: Family<ListenerLabel, Gauge<i64, AtomicI64>>,
    pub(super) crl_expiry: Family<ListenerLabel, Gauge<i64, AtomicI64>>,
    pub(super) reloads: Family<ReloadLabels, Counter>,
    pub(super) is_last_successful: Family<SubjectLabel, Gauge<i64, AtomicI64>>,
    pub(super) last_success: Family<SubjectLabel, Gauge<i64, AtomicI64>>,
    pub(super) last_failure: Family<SubjectLabel, Gauge<i64, AtomicI64>>,
}

/// Outcomes of handshakes and their TLS versions.
const HANDSHAKES: [(&str, &str); 7] = [
    ("completed", "1.2"),
    ("completed", "1.3"),
    ("closed", "none"),
    ("plain_text", "none"),
    ("timed_out", "none"),
    ("replaced", "none"),
    ("failed", "none"),
];

impl Metrics {
    /// Starts the counters of a port at 0.
    pub(super) fn register_port(&self, port: Port) {
        for (outcome, version) in HANDSHAKES {
            drop(self.handshakes.get_or_create(&HandshakeLabels { listener: port.section, outcome, version }));
        }
        for outcome in ["loaded", "failed"] {
            drop(self.reloads.get_or_create(&ReloadLabels { what: port.path, outcome }));
        }
    }

    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        let handshakes = own.handshakes.clone();
        registry.register("tls_handshakes", "TLS handshakes, by listener, outcome and version", handshakes);
        let mut time = |name: &str, help: &str, metric| registry.register_with_unit(name, help, Unit::Seconds, metric);
        let certificate_expiry = own.certificate_expiry.clone();
        time("tls_certificate_expiry_timestamp", "End of validity of the certificate in use", certificate_expiry);
        time("tls_crl_expiry_timestamp", "Earliest next update of the revocation lists in use", own.crl_expiry.clone());
        registry.register("reloads", "Reloads of changed files, by subject and outcome", own.reloads.clone());
        let help = "Whether the last look at the files found them usable";
        registry.register("reload_last_successful", help, own.is_last_successful.clone());
        let mut time = |name: &str, help: &str, metric| registry.register_with_unit(name, help, Unit::Seconds, metric);
        time("reload_last_success_timestamp", "When files were last loaded", own.last_success.clone());
        time("reload_last_failure_timestamp", "When files were last unusable", own.last_failure.clone());
        own
    }
}
