//! The time of each stage within the gateway, from its metrics (`server/telemetry/stages`).

use std::collections::BTreeMap;

use powerstream_gateway::telemetry::stages::Stage;

const METRIC: &str = "powerstream_gateway_stage_seconds";

/// Counts of all stages.
#[derive(Clone, Debug, Default)]
pub struct StageTimes(BTreeMap<&'static str, StageCounts>);

#[derive(Clone, Debug, Default)]
struct StageCounts {
    /// Cumulative counts by upper bound in microseconds, ascending.
    buckets: Vec<(f64, f64)>,
    sum_micros: f64,
    count: f64,
}

/// Mean, median and 99th percentile of a stage, in microseconds, and how often it occurs.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct StageFigures {
    pub count: f64,
    pub mean: f64,
    pub p50: f64,
    pub p99: f64,
}

impl StageTimes {
    /// Reads the stages of a scrape; `None` if the gateway was built without the probe.
    pub fn parse(text: &str) -> Option<Self> {
        let mut times = Self::default();
        for line in text.lines().filter_map(|line| line.strip_prefix(METRIC)) {
            let Some(stage) = Stage::ALL.iter().find(|stage| line.contains(&format!("stage=\"{}\"", stage.name())))
            else {
                continue;
            };
            let value: f64 = line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_default();
            let counts = times.0.entry(stage.name()).or_default();
            if line.starts_with("_sum") {
                counts.sum_micros = value * 1e6;
            } else if line.starts_with("_count") {
                counts.count = value;
            } else if let Some((_, rest)) = line.split_once("le=\"") {
                let bound = rest.split('"').next().and_then(|bound| bound.parse().ok()).unwrap_or(f64::INFINITY);
                counts.buckets.push((bound * 1e6, value));
            }
        }
        (!times.0.is_empty()).then_some(times)
    }

    /// Returns what was counted after `before`.
    pub fn since(mut self, before: &Self) -> Self {
        self.combine(before, -1.0);
        self
    }

    /// Adds the counts of another round.
    pub fn add(&mut self, other: &Self) {
        if self.0.is_empty() {
            *self = other.clone();
        } else {
            self.combine(other, 1.0);
        }
    }

    fn combine(&mut self, other: &Self, sign: f64) {
        for (stage, counts) in &mut self.0 {
            let Some(other) = other.0.get(stage) else { continue };
            counts.sum_micros += sign * other.sum_micros;
            counts.count += sign * other.count;
            for (bucket, other) in counts.buckets.iter_mut().zip(&other.buckets) {
                bucket.1 += sign * other.1;
            }
        }
    }

    /// Returns the figures of a stage.
    pub fn figures(&self, stage: Stage) -> Option<StageFigures> {
        let counts = self.0.get(stage.name()).filter(|counts| counts.count > 0.0)?;
        let mean = counts.sum_micros / counts.count;
        Some(StageFigures { count: counts.count, mean, p50: counts.quantile(0.5), p99: counts.quantile(0.99) })
    }
}

impl StageCounts {
    /// Interpolates within a bucket, whose bounds differ by 15 %.
    fn quantile(&self, share: f64) -> f64 {
        let rank = self.count * share;
        let (mut bound, mut below) = (0.0, 0.0);
        for (upper, cumulative) in &self.buckets {
            if *cumulative >= rank {
                let upper = if upper.is_finite() { *upper } else { bound };
                return bound + (upper - bound) * (rank - below) / (cumulative - below).max(1.0);
            }
            (bound, below) = (*upper, *cumulative);
        }
        bound
    }
}
