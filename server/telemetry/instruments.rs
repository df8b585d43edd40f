//! Kinds of metrics that `prometheus-client` does not have: histograms that cost two relaxed additions, and gauges that are
//! computed when they are read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Upper bounds of the buckets of all histograms, in microseconds: 50 µs to 5 min. A delivery takes 100 to 500 µs, which
/// are resolved by 50 µs.
const BOUNDS_MICROS: [u64; 27] = [
    50,
    100,
    150,
    200,
    250,
    300,
    350,
    400,
    450,
    500,
    750,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];
/// The last bucket has no bound.
const BUCKETS: usize = BOUNDS_MICROS.len() + 1;

/// A histogram of durations in seconds. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Histogram(Arc<HistogramState>);

#[derive(Debug, Default)]
struct HistogramState {
    buckets: [AtomicU64; BUCKETS],
    sum_micros: AtomicU64,
}

/// Durations counted by one thread, added to a [`Histogram`] together.
#[derive(Clone, Copy, Debug, Default)]
pub struct DurationCounts {
    buckets: [u64; BUCKETS],
    sum_micros: u64,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn bucket(micros: u64) -> usize {
    BOUNDS_MICROS.partition_point(|bound| *bound < micros)
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        let micros = micros(duration);
        self.0.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.0.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Adds durations that were counted together.
    pub fn add(&self, counts: &DurationCounts) {
        for (bucket, count) in self.0.buckets.iter().zip(counts.buckets).filter(|(_, count)| *count > 0) {
            bucket.fetch_add(count, Ordering::Relaxed);
        }
        self.0.sum_micros.fetch_add(counts.sum_micros, Ordering::Relaxed);
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

impl DurationCounts {
    /// Counts a duration.
    pub fn observe(&mut self, duration: Duration) {
        let micros = micros(duration);
        self.buckets[bucket(micros)] += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let bounds = BOUNDS_MICROS.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        let counts = self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // From the same counts, so that the parts of a scrape agree.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum_micros.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A gauge whose value is computed at each scrape.
pub struct ComputedGauge(Box<dyn Fn() -> f64 + Send + Sync>);

impl ComputedGauge {
    /// Computes the value by this function. It must not block.
    pub fn new(value: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Box::new(value))
    }
}

impl fmt::Debug for ComputedGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComputedGauge").finish_non_exhaustive()
    }
}

impl EncodeMetric for ComputedGauge {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        encoder.encode_gauge(&(self.0)())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn histogram_counts_durations_at_bounds() {
        let (histogram, mut counts) = (Histogram::default(), DurationCounts::default());
        for micros in [0, 120, 500, 501, 1_000_000, 300_000_001] {
            histogram.observe(Duration::from_micros(micros));
            counts.observe(Duration::from_micros(micros));
        }
        histogram.add(&counts);
        assert_eq!(histogram.count(), 12);
        let mut registry = Registry::default();
        registry.register("x_seconds", "X", histogram);
        registry.register("y", "Y", ComputedGauge::new(|| 1.5));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes any text");
        for line in [
            "x_seconds_bucket{le=\"0.0001\"} 2\n",
            "x_seconds_bucket{le=\"0.00015\"} 4\n",
            "x_seconds_bucket{le=\"0.0002\"} 4\n",
            "x_seconds_bucket{le=\"0.0005\"} 6\n",
            "x_seconds_bucket{le=\"0.001\"} 8\n",
            "x_seconds_bucket{le=\"1.0\"} 10\n",
            "x_seconds_bucket{le=\"300.0\"} 10\n",
            "x_seconds_bucket{le=\"+Inf\"} 12\n",
            "x_seconds_count 12\n",
            "x_seconds_sum 602.002244\n",
            "\ny 1.5\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
