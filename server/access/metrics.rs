//! Metrics of credentials: when each token of a file was last used and when it expires, and audit lines not written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{AccessControl, PrincipalName};
use crate::model::UnixMillis;
use crate::telemetry::metrics::LABEL_VALUES_MAX;

/// Values of a metric by credential: the tokens that expire first have a value of their own.
type Values = BTreeMap<PrincipalName, f64>;

/// Adds a value; past the bound, the one that `worse` selects counts for `other`.
fn put(values: &mut Values, id: &Arc<str>, value: f64, worse: fn(f64, f64) -> f64) {
    if values.len() < LABEL_VALUES_MAX {
        values.insert(id.clone(), value);
    } else {
        values.entry("other".into()).and_modify(|known| *known = worse(*known, value)).or_insert(value);
    }
}

fn seconds(time: UnixMillis) -> f64 {
    time.0 as f64 / 1_000.0
}

/// Reads the metrics of credentials.
struct CredentialCollector(Weak<AccessControl>);

/// Registers the metrics of credentials.
pub fn register(control: &Arc<AccessControl>, registry: &mut Registry) {
    let suppressed = control.audit().suppressed().clone();
    registry.register("audit_suppressed", "Total audit lines of refused calls not written", suppressed);
    registry.register_collector(Box::new(CredentialCollector(Arc::downgrade(control))));
}

/// Returns when tokens were last used, and when they expire.
fn values(control: &AccessControl) -> (Values, Values) {
    let access = control.current();
    let mut tokens: Vec<_> = access.tokens().collect();
    tokens.sort_by_key(|(_, not_after)| not_after.map_or(i64::MAX, |end| end.0));
    let (mut used, mut expiry) = (Values::new(), Values::new());
    for (id, not_after) in tokens {
        put(&mut used, id, control.token_use().last(id).map_or(0.0, seconds), f64::max);
        if let Some(end) = not_after {
            put(&mut expiry, id, seconds(end), f64::min);
        }
    }
    (used, expiry)
}

impl fmt::Debug for CredentialCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialCollector").finish_non_exhaustive()
    }
}

impl Collector for CredentialCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(control) = self.0.upgrade() else { return Ok(()) };
        let (used, expiry) = values(&control);
        let used_help = "Time of the last call with a token of a token file, 0 if none since the start";
        let expiry_help = "End of validity of a token of a token file";
        for (name, help, values) in [
            ("credential_last_used_timestamp_seconds", used_help, used),
            ("credential_expiry_timestamp_seconds", expiry_help, expiry),
        ] {
            if values.is_empty() {
                continue;
            }
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (id, value) in &values {
                ConstGauge::new(*value).encode(family.encode_family(&[("credential", &**id)])?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_past_bound_share_worst_value() {
        let mut values = Values::new();
        for n in 0..1_000 {
            put(&mut values, &format!("{n:08}").into(), f64::from(n), f64::min);
        }
        assert_eq!(values.len(), LABEL_VALUES_MAX + 1);
        assert_eq!(values.get("other"), Some(&200.0));
    }
}
