//! Ranges of all numbers and durations of the configuration, in one table that is applied to the schema.
//!
//! A test reports a key without a row. The bounds exclude values that cannot work (an empty queue), that would flood X
//! with requests (no wait between attempts), and that make a library panic. Bounds that depend on other keys are in
//! `validate`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::error::ConfigError;
use super::json_schema;
use super::settings::Settings;

/// Lowest and highest value of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Range {
    /// Integer.
    Whole(i64, i64),
    /// Real number.
    Real(f64, f64),
    /// Duration in milliseconds.
    Time(u64, u64),
}

use Range::{Real, Time, Whole};

const MS: u64 = 1;
const S: u64 = 1_000 * MS;
const M: u64 = 60 * S;
const H: u64 = 60 * M;
const D: u64 = 24 * H;
/// 365.25 days, as `humantime` parses a year.
const Y: u64 = 31_557_600 * S;
const KIB: i64 = 1 << 10;
const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;
const TIB: i64 = 1 << 40;

/// The ranges, ordered as in the example. `[]` means each entry of a list.
pub(super) const RANGES: &[(&str, Range)] = &[
    // X allows few connections and documents no number.
    ("account_retry_interval", Time(S, D)),
    ("accounts[].connections", Whole(1, 8)),
    ("admin.connections_max", Whole(1, 10_000)),
    ("admin.drain_timeout", Time(0, M)),
    // hyper panics on less than 8 KiB.
    ("admin.header_bytes_max", Whole(8 * KIB, MIB)),
    ("admin.header_timeout", Time(100 * MS, M)),
    ("admin.refusals_max", Whole(0, 100_000)),
    ("admin.request_timeout", Time(100 * MS, 10 * M)),
    ("admin.rpc_connection_age_max", Time(S, D)),
    ("admin.rpc_connections_max", Whole(1, 1_000)),
    ("admin.rpc_streams_max", Whole(1, 1_000)),
    ("admin.scrapes_max", Whole(1, 1_000)),
    ("admin.tls.handshake_timeout", Time(100 * MS, 10 * M)),
    ("admin.tls.handshakes_max", Whole(1, 100_000)),
    ("admin.watch_age_max", Time(S, D)),
    ("admin.watchers_max", Whole(1, 1_000)),
    ("auth.jwks.age_max", Time(M, 30 * D)),
    ("auth.jwks.fetch_timeout", Time(100 * MS, M)),
    ("auth.jwks.refresh_interval", Time(S, D)),
    ("auth.jwks.response_bytes_max", Whole(KIB, 16 * MIB)),
    // Not more often: any client that reaches the port can name unknown keys.
    ("auth.jwks.unknown_key_interval", Time(S, H)),
    ("auth.jwt[].lifetime_max", Time(0, Y)),
    // A refused call that waits keeps its stream.
    ("auth.refusal_delay", Time(0, 10 * S)),
    ("auth.refusals_per_minute", Whole(0, 1_000_000)),
    // Up to the year 9999, and as far back.
    ("clock.origin_ms", Whole(-253_402_300_799_999, 253_402_300_799_999)),
    ("clock.rate", Real(0.001, 10_000.0)),
    // It delays the end of the process, within `shutdown_timeout`.
    ("grpc.close_timeout", Time(0, M)),
    ("grpc.connection_response_bytes_max", Whole(MIB, GIB)),
    ("grpc.connections_max", Whole(1, 1_000_000)),
    ("grpc.connections_per_peer_max", Whole(0, 1_000_000)),
    // A call reads at least one block of the journal.
    ("grpc.coverage_read_bytes_max", Whole(MIB, 64 * GIB)),
    ("grpc.coverage_reads_max", Whole(1, 256)),
    ("grpc.header_bytes_max", Whole(4 * KIB, MIB)),
    ("grpc.idle_timeout", Time(S, Y)),
    ("grpc.lookups_max", Whole(1, 256)),
    ("grpc.ping_interval", Time(S, D)),
    ("grpc.ping_timeout", Time(S, D)),
    ("grpc.preface_timeout", Time(100 * MS, D)),
    // A filter of 1,000 terms of 255 characters of four bytes has a little more than 1 MB.
    ("grpc.request_bytes_max", Whole(4 * KIB, 64 * MIB)),
    ("grpc.response_bytes_max", Whole(4 * MIB, 64 * GIB)),
    ("grpc.rule_test_read_bytes_max", Whole(MIB, 64 * GIB)),
    ("grpc.rule_test_window_max", Time(M, 365 * D)),
    ("grpc.rule_tests_max", Whole(1, 256)),
    ("grpc.rules_request_bytes_max", Whole(MIB, 64 * MIB)),
    ("grpc.send_buffer_bytes_max", Whole(4 * KIB, 64 * MIB)),
    ("grpc.send_timeout", Time(S, D)),
    ("grpc.streams_per_connection_max", Whole(1, 100_000)),
    ("grpc.streams_per_second_max", Whole(1, 1_000_000)),
    ("grpc.tls.handshake_timeout", Time(100 * MS, 10 * M)),
    ("grpc.tls.handshakes_max", Whole(1, 100_000)),
    ("grpc.unary_timeout", Time(100 * MS, D)),
    // Upstream delays are seconds; an hour would request one more hour from X at each reconnect.
    ("hub.allowed_lateness", Time(S, H)),
    ("hub.closed_gaps_max", Whole(1, 1_000_000)),
    ("hub.consumer_labels_max", Whole(0, 100_000)),
    ("hub.fanout_cache_bytes_max", Whole(0, 64 * GIB)),
    // Capacity for one filter of maximum size.
    ("hub.filter_bytes_max", Whole(MIB, 64 * GIB)),
    ("hub.journal_readers_max", Whole(1, 1_000)),
    ("hub.private_gaps.demands_per_hour_per_caller_max", Whole(0, 100_000)),
    ("hub.private_gaps.intervals_max", Whole(1, 1_000_000)),
    ("hub.private_gaps.page_cache_bytes_max", Whole(0, 64 * GIB)),
    ("hub.private_gaps.recovery_margin", Time(0, H)),
    ("hub.recovery_window", Time(10 * M, Y)),
    ("hub.replay_cache_bytes_max", Whole(0, 64 * GIB)),
    ("hub.replay_read_bytes_max", Whole(4 * KIB, 16 * MIB)),
    ("hub.replay_sessions_max", Whole(1, 1_000_000)),
    ("hub.ring_bytes_max", Whole(64 * KIB, 64 * GIB)),
    ("hub.session_age_max", Time(0, Y)),
    ("hub.sessions_max", Whole(1, 1_000_000)),
    ("hub.tags_tracked_max", Whole(0, 1_000_000)),
    ("hub.termination_timeout", Time(100 * MS, 10 * M)),
    ("ingest.append_bytes_max", Whole(4 * KIB, 64 * MIB)),
    ("ingest.append_retry", Time(10 * MS, M)),
    ("ingest.dedup.file_ids_max", Whole(1_000, GIB)),
    ("ingest.dedup.memory_bytes_max", Whole(MIB, TIB)),
    ("ingest.dedup.memtable_age_max", Time(S, D)),
    ("ingest.dedup.memtable_ids_max", Whole(1_000, 100_000_000)),
    ("ingest.dedup.memtable_rules_bytes_max", Whole(64 * KIB, 16 * GIB)),
    ("ingest.dedup.rebuilt_blocks_max", Whole(1, 1_000_000)),
    ("ingest.dedup.unflushed_ids_max", Whole(1_000, GIB)),
    // The contract's 24 h: ids of posts that X can recover must be known.
    ("ingest.dedup.window", Time(D, Y)),
    ("ingest.gaps.backfill_duration_max", Time(M, D)),
    // X accepts 1 to 5 (F-RR); 0 disables backfill.
    ("ingest.gaps.backfill_minutes_max", Whole(0, 5)),
    ("ingest.gaps.backfill_retry_after", Time(M, Y)),
    ("ingest.gaps.due_min", Whole(1, 1_000_000)),
    ("ingest.gaps.initial_backfill_minutes", Whole(0, 5)),
    ("ingest.gaps.lag_max", Time(S, D)),
    ("ingest.gaps.reader_stall_min", Time(S, D)),
    ("ingest.inline_bytes_max", Whole(0, MIB)),
    ("ingest.queue_bytes_max", Whole(64 * KIB, 16 * GIB)),
    ("ingest.recovery.count_repeats_max", Whole(0, 100)),
    // One minute, because recovery windows are whole minutes.
    ("ingest.recovery.expiry_margin", Time(M, D)),
    ("ingest.recovery.finished_jobs_max", Whole(1, 1_000_000)),
    ("ingest.recovery.finished_jobs_retention", Time(0, Y)),
    // X allows 2.
    ("ingest.recovery.jobs_max", Whole(1, 100)),
    ("ingest.recovery.manual_jobs_per_hour_max", Whole(0, 100_000)),
    ("ingest.recovery.manual_jobs_per_hour_per_caller_max", Whole(0, 100_000)),
    ("ingest.recovery.overlap_max", Time(0, 10 * M)),
    ("ingest.recovery.refusal_backoff_max", Time(S, D)),
    ("ingest.recovery.requests_per_minute_max", Whole(1, 60)),
    ("ingest.recovery.vain_attempts_per_hour_max", Whole(2, 1_000)),
    ("ingest.recovery.window_age_min", Time(0, D)),
    ("ingest.recovery.window_max", Time(M, D)),
    ("ingest.recovery.young_refusal_age_max", Time(0, D)),
    ("ingest.side_log_bytes_max", Whole(MIB, 1_024 * TIB)),
    ("journal.disk_headroom_bytes_min", Whole(0, TIB)),
    ("journal.retention_age_max", Time(M, Y)),
    ("journal.retention_bytes_max", Whole(0, 1_024 * TIB)),
    ("journal.segment_bytes_max", Whole(4 * KIB, 4 * GIB)),
    // A refused call that waits keeps its stream.
    ("limits.refusal_delay", Time(0, 10 * S)),
    ("limits.refusals_per_second", Whole(0, 1_000_000)),
    ("reload.interval", Time(100 * MS, D)),
    ("replication.append_patience", Time(S, 10 * M)),
    // Elections of NATS take seconds.
    ("replication.lease_ttl", Time(5 * S, 5 * M)),
    ("replication.linger", Time(0, S)),
    ("replication.nats.call_timeout", Time(100 * MS, M)),
    ("replication.nats.pending_calls_max", Whole(1, 65_536)),
    ("replication.nats.subscription_messages_max", Whole(1, 1 << 20)),
    // The most that JetStream makes.
    ("replication.replicas", Whole(1, 5)),
    ("replication.retention", Time(D, Y)),
    ("replication.stream_bytes_max", Whole(0, 1_024 * TIB)),
    ("replication.token_wait", Time(0, M)),
    ("roles[].limits.bytes_per_second", Whole(KIB, TIB)),
    ("roles[].limits.calls_per_second", Whole(1, 1_000_000)),
    ("roles[].limits.connections", Whole(1, 1_000_000)),
    ("roles[].limits.recovery_jobs", Whole(0, 1_000_000)),
    ("roles[].limits.replays", Whole(0, 1_000_000)),
    ("roles[].limits.sessions", Whole(1, 1_000_000)),
    ("rules.audit_bytes_max", Whole(4 * KIB, GIB)),
    ("rules.audit_files_max", Whole(0, 1_000)),
    ("rules.calibrate", Real(0.0, 1.0)),
    ("rules.coalesce_interval", Time(0, 10 * M)),
    ("rules.coalesce_max", Time(0, H)),
    // Each read spends a request of the budget.
    ("rules.drift_refresh_interval", Time(H, 7 * D)),
    ("rules.effect_delay", Time(0, H)),
    ("rules.files_interval", Time(S, D)),
    ("rules.observer_queue_bytes_max", Whole(64 * KIB, GIB)),
    ("rules.removals_max", Whole(0, 1_000)),
    ("rules.request_timeout", Time(S, D)),
    // X's limit.
    ("rules.requests_max", Whole(1, 50)),
    ("rules.reserve", Whole(0, 49)),
    ("rules.response_bytes_max", Whole(64 * KIB, 256 * MIB)),
    ("rules.stop_timeout", Time(0, 10 * M)),
    ("shutdown_timeout", Time(S, H)),
    ("telemetry.otlp_batch_spans_max", Whole(1, MIB)),
    ("telemetry.otlp_delay", Time(10 * MS, 10 * M)),
    ("telemetry.otlp_flush_timeout", Time(0, M)),
    ("telemetry.otlp_queue_spans_max", Whole(1, MIB)),
    ("telemetry.otlp_timeout", Time(10 * MS, 10 * M)),
    ("upstream.batch_bytes_max", Whole(KIB, 16 * MIB)),
    ("upstream.connect_timeout", Time(100 * MS, D)),
    // The lowest waits are for a simulator on loopback; those for X are in `PUBLISHED`.
    ("upstream.healthy_after", Time(S, D)),
    ("upstream.http_backoff_max", Time(100 * MS, D)),
    ("upstream.http_backoff_step", Time(100 * MS, D)),
    ("upstream.jitter_percent_max", Whole(0, 100)),
    // Real posts have 20 KB.
    ("upstream.message_bytes_max", Whole(32 * KIB, 16 * MIB)),
    ("upstream.network_backoff_max", Time(50 * MS, D)),
    ("upstream.network_backoff_step", Time(50 * MS, D)),
    // A post can match all rules that X allows; a lower limit would skip ordinary posts.
    ("upstream.post_rules_max", Whole(1_000, 100_000)),
    ("upstream.rate_limit_backoff_max", Time(100 * MS, D)),
    ("upstream.rate_limit_backoff_step", Time(100 * MS, D)),
    ("upstream.response_timeout", Time(100 * MS, D)),
    ("upstream.stale_after", Time(S, D)),
    ("upstream.usage_cap_retry", Time(S, 30 * D)),
];

/// Minimum waits with X itself, in milliseconds, as X publishes them (F-HD, "Handling disconnections"): `stale_after`
/// above the 20 s between heartbeats, which arrive up to 21.5 s after each other; `healthy_after` longer than one
/// heartbeat interval; time for X's answers.
pub(super) const PUBLISHED: &[(&str, u64)] = &[
    ("upstream.connect_timeout", S),
    ("upstream.healthy_after", 20 * S),
    ("upstream.http_backoff_max", 320 * S),
    ("upstream.http_backoff_step", 5 * S),
    ("upstream.network_backoff_max", 16 * S),
    ("upstream.network_backoff_step", 250 * MS),
    ("upstream.rate_limit_backoff_max", 60 * S),
    ("upstream.rate_limit_backoff_step", 60 * S),
    ("upstream.response_timeout", S),
    ("upstream.stale_after", 22 * S),
    ("upstream.usage_cap_retry", 60 * S),
];

/// Adds the ranges to a schema: `minimum` and `maximum` of a number, `x-minimum` and `x-maximum` of a duration.
pub(super) fn annotate(schema: &mut Value) {
    for (path, range) in RANGES {
        let Some(key) = json_schema::key_mut(schema, path).and_then(Value::as_object_mut) else { continue };
        let (names, bounds) = match *range {
            Whole(min, max) => (["minimum", "maximum"], [json!(min), json!(max)]),
            Real(min, max) => (["minimum", "maximum"], [json!(min), json!(max)]),
            Time(min, max) => (["x-minimum", "x-maximum"], [shown(min).into(), shown(max).into()]),
        };
        key.extend(names.map(str::to_owned).into_iter().zip(bounds).collect::<Map<_, _>>());
    }
}

/// Returns the durations outside their range; numbers are checked against the schema. `remote` is true if an account is
/// X's own.
pub(super) fn faults(settings: &Settings, remote: bool) -> Vec<ConfigError> {
    let tree = serde_json::to_value(settings).unwrap_or_default();
    let mut faults = Vec::new();
    for (path, range) in RANGES {
        let (Time(min, max), Some(value)) = (*range, time_at(&tree, path)) else { continue };
        let published = PUBLISHED.iter().find(|(key, _)| key == path).map(|(_, min)| *min);
        let least = Duration::from_millis(published.filter(|_| remote).unwrap_or(min));
        let most = Duration::from_millis(max);
        if !(least..=most).contains(&value) {
            let why = if value < least && remote && published.is_some() { "; X needs as much" } else { "" };
            let [least, most, value] = [least, most, value].map(humantime::format_duration);
            faults.push(ConfigError::new(*path, format!("this must be between {least} and {most}, not {value}{why}")));
        }
    }
    faults
}

pub(super) fn shown(millis: u64) -> String {
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}

/// Returns the duration at a path of rendered settings.
fn time_at(tree: &Value, path: &str) -> Option<Duration> {
    let value = path.split('.').try_fold(tree, |node, key| node.get(key))?;
    humantime::parse_duration(value.as_str()?).ok()
}

/// Returns each key with its edge values (0, 1 and the bounds), at which the gateway has to work or `load` has to
/// refuse.
#[cfg(test)]
pub(crate) fn edges() -> Vec<(&'static str, String)> {
    let values = |range: Range| -> Vec<String> {
        match range {
            Whole(min, max) => [0, 1, min, max].map(|value| value.to_string()).into(),
            Real(min, max) => [0.0, 1.0, min, max].map(|value| format!("{value:?}")).into(),
            Time(min, max) => [0, S, min, max].map(|value| format!("{value}ms")).into(),
        }
    };
    let mut edges = Vec::new();
    for (path, range) in RANGES {
        let mut values = values(*range);
        // X requires more than a simulator.
        let published = PUBLISHED.iter().filter(|(key, _)| key == path).map(|(_, least)| format!("{least}ms"));
        values.extend(published);
        values.sort_unstable();
        values.dedup();
        edges.extend(values.into_iter().map(|value| (*path, value)));
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigErrors, load};
    use super::*;

    /// Collects the paths of all numbers and durations of a schema.
    fn numbers(root: &Value, section: &Value, path: &str, found: &mut Vec<String>) {
        for (key, node) in section.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let default = node.get("default").and_then(Value::as_str).unwrap_or_default();
            let node = json_schema::resolve(root, node);
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let is_number = json_schema::has_type(node, "integer") || json_schema::has_type(node, "number");
            if is_number || humantime::parse_duration(default).is_ok() {
                found.push(path);
            } else if let Some(items) = node.get("items") {
                numbers(root, json_schema::resolve(root, items), &format!("{path}[]"), found);
            } else {
                numbers(root, node, &path, found);
            }
        }
    }

    fn all_numbers() -> Vec<String> {
        let (schema, mut found) = (crate::config::schema(), Vec::new());
        numbers(&schema, &schema, "", &mut found);
        assert!(found.len() > 60, "{found:?}");
        found
    }

    /// Regression: `check` accepted settings that dropped every post or sent X 16,140 requests in 6 s.
    #[test]
    fn number_without_range_is_found() {
        let all = all_numbers();
        let missing: Vec<_> = all.iter().filter(|path| !RANGES.iter().any(|(key, _)| key == path)).collect();
        assert!(missing.is_empty(), "write a row of config/ranges.rs for {missing:?}");
        assert!(RANGES.is_sorted_by_key(|(path, _)| *path), "in the order of the example");
    }

    /// Sets one key over the defaults, with an account of a simulator on this machine.
    fn with_key(path: &str, value: &str) -> Result<Settings, ConfigErrors> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("config.yaml");
        let local = "accounts: [{ name: main, bearer: { env: X }, url: 'http://127.0.0.1:1' }]\n";
        std::fs::write(&file, local).expect("written");
        load(Some(&file), &[(path.to_owned(), value.to_owned())], std::iter::empty())
    }

    /// Each number at 0, 1, its bounds and beyond them is refused with its path or accepted unchanged.
    #[test]
    fn number_is_taken_within_its_range_only() {
        let known = all_numbers();
        for (path, range) in RANGES.iter().filter(|(path, _)| known.iter().any(|key| key == path)) {
            if path.contains("[]") {
                continue;
            }
            let cases: Vec<(String, bool)> = match *range {
                Whole(min, max) => [0, 1, min - 1, min, max, max + 1, i64::MAX]
                    .map(|value| (value.to_string(), (min..=max).contains(&value)))
                    .into(),
                Time(min, max) => [0, 1, 1_000, min.saturating_sub(1), min, max, max + 1]
                    .map(|value| (format!("{value}ms"), (min..=max).contains(&value)))
                    .into(),
                Real(min, max) => [0.0, 1.0, min / 2.0, min, max, max * 2.0]
                    .map(|value| (format!("{value:?}"), (min..=max).contains(&value)))
                    .into(),
            };
            for (value, good) in cases {
                let outcome = with_key(path, &value);
                let faults = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
                // A value in range may contradict another key, which is a fault with a path, too.
                let contradiction =
                    faults.contains("at least") || faults.contains("at most") || faults.contains("1 to");
                assert!(outcome.is_ok() || !good || contradiction, "{path}={value}: {faults}");
                assert!(outcome.is_err() || good, "{path}={value} is taken");
            }
        }
    }
}
