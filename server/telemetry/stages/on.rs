//! The probe: histograms of each stage in nanoseconds.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::stage::Stage;
use crate::clock::host_nanos;
use crate::telemetry::metrics::Registry;

/// Buckets of a stage; the bounds grow by 15 %, from 0.25 µs to 0.4 s.
const BUCKETS: usize = 104;
const FIRST_BOUND_NANOS: f64 = 250.0;
const GROWTH: f64 = 1.15;

static TIMES: [StageHistogram; Stage::ALL.len()] = [const { StageHistogram::new() }; Stage::ALL.len()];

/// Elapsed time of the host. Zero is none.
pub(super) type Nanos = u64;
/// The same, shared between threads.
pub(super) type SharedNanos = AtomicU64;

#[inline]
pub(super) fn now() -> Nanos {
    host_nanos()
}

#[inline]
pub(super) fn record(begin: Nanos, end: Nanos, stage: Stage) {
    if begin != 0 && end >= begin {
        TIMES[stage as usize].observe(end - begin);
    }
}

pub(super) fn store(cell: &SharedNanos) {
    cell.store(host_nanos(), Ordering::Relaxed);
}

pub(super) fn load(cell: &SharedNanos) -> Nanos {
    cell.load(Ordering::Relaxed)
}

struct StageHistogram {
    buckets: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

impl StageHistogram {
    const fn new() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum_nanos: AtomicU64::new(0) }
    }

    fn observe(&self, nanos: u64) {
        let above = (nanos as f64 / FIRST_BOUND_NANOS).ln() / GROWTH.ln();
        let bucket = (above.ceil().max(0.0) as usize).min(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// One of the histograms, as it is registered.
struct StageMetric(Stage);

impl fmt::Debug for StageMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StageMetric").field(&self.0).finish()
    }
}

impl EncodeMetric for StageMetric {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let times = &TIMES[self.0 as usize];
        let bound = |at: usize| if at + 1 == BUCKETS { f64::INFINITY } else { bound_nanos(at) / 1e9 };
        let counts = times.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = counts.enumerate().map(|(at, count)| (bound(at), count)).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = times.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn bound_nanos(at: usize) -> f64 {
    FIRST_BOUND_NANOS * GROWTH.powi(i32::try_from(at).unwrap_or(i32::MAX))
}

/// Registers the histograms.
pub fn register(registry: &Registry) {
    registry.process(|part| {
        for stage in Stage::ALL {
            let part = part.sub_registry_with_label(("stage".into(), stage.name().into()));
            part.register("stage_seconds", "Duration of a stage of a delivery", StageMetric(stage));
        }
    });
}
