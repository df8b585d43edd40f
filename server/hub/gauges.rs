//! Gauges of an account that are computed when they are read: sessions and their lag, the retained window, the last byte.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Hub;
use super::status::upstream_status::UpstreamState;
use crate::model::UnixMillis;
use crate::telemetry::metrics::ComputedGauge;

fn seconds(time: UnixMillis) -> f64 {
    time.0 as f64 / 1_000.0
}

/// Registers the gauges of a hub. They read it as long as it exists.
pub fn register(hub: &Arc<Hub>, registry: &mut Registry) {
    let weak = Arc::downgrade(hub);
    let mut gauge = |name: &str, help: &str, value: fn(&Hub) -> f64| {
        let hub = weak.clone();
        let value = move || hub.upgrade().map_or(0.0, |hub| value(&hub));
        registry.register(name, help, ComputedGauge::new(value));
    };
    gauge("sessions_limit", "Maximum open sessions (hub.sessions_max)", |hub| hub.live().sessions_max as f64);
    gauge("replays", "Sessions that read the journal", |hub| hub.replays() as f64);
    gauge("replays_limit", "Maximum sessions that read the journal (hub.replay_sessions_max)", |hub| {
        hub.live().replay_sessions_max as f64
    });
    gauge("sessions_stalled", "Sessions whose client has taken no message for 5 s although one is ready", |hub| {
        hub.metrics().sessions.stalled(hub.clock().moment()) as f64
    });
    gauge("journal_window_seconds", "Receive time between the oldest and the newest record of the log", |hub| {
        let earliest = hub.reader().extent().earliest_received;
        earliest.zip(hub.tip_received()).map_or(0.0, |(earliest, newest)| newest.since(earliest).as_secs_f64())
    });
    gauge(
        "upstream_stopped",
        "Whether no connection is attempted until an operator acts or a period ends (1) or not (0)",
        |hub| f64::from(u8::from(hub.upstream().status().state == UpstreamState::Stopped)),
    );
    let opened = hub.clock().now();
    let (byte, post) = (weak.clone(), weak.clone());
    let last_byte = move || byte.upgrade().and_then(|hub| hub.upstream().last_byte()).map_or(opened, |last| last.time);
    registry.register(
        "upstream_last_byte_timestamp_seconds",
        "Time of the last message or heartbeat of a live connection; before the first, the time of the start",
        ComputedGauge::new(move || seconds(last_byte())),
    );
    let last_post = move || post.upgrade().and_then(|hub| hub.upstream().last_post()).unwrap_or(opened);
    registry.register(
        "upstream_last_post_timestamp_seconds",
        "Time of the last post of a live connection; before the first, the time of the start",
        ComputedGauge::new(move || seconds(last_post())),
    );
    registry.register_collector(Box::new(LagCollector(weak)));
}

/// The worst lag of each consumer that has an open session.
struct LagCollector(Weak<Hub>);

impl fmt::Debug for LagCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LagCollector").finish_non_exhaustive()
    }
}

impl Collector for LagCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(hub) = self.0.upgrade() else { return Ok(()) };
        let tip = (hub.next(), hub.tip_received());
        let lag = hub.metrics().sessions.lag(tip);
        if lag.is_empty() {
            return Ok(());
        }
        let help = "Receive time between the last record passed and the newest one, of the session furthest behind";
        let mut family = encoder.encode_descriptor("session_lag_seconds_max", help, None, MetricType::Gauge)?;
        for (consumer, lag) in &lag {
            let labels = [("consumer", consumer.as_str())];
            ConstGauge::new(lag.time.as_secs_f64()).encode(family.encode_family(&labels)?)?;
        }
        let help = "Records not passed yet, of the session furthest behind";
        let mut family = encoder.encode_descriptor("session_lag_events_max", help, None, MetricType::Gauge)?;
        for (consumer, lag) in &lag {
            let labels = [("consumer", consumer.as_str())];
            ConstGauge::new(lag.records as f64).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
