//! `docs/metrics.md` is what a real scrape has.

use std::fmt::Write;
use std::path::Path;

use super::scrape::{self, Scrape};

const PAGE: &str = "docs/metrics.md";
const BEGIN: &str = "<!-- generated from a scrape; see tests/it/metrics/reference.rs -->\n";
const END: &str = "<!-- end of the generated part -->\n";

/// Sections by the begin of names, the first that fits.
const SECTIONS: &[(&str, &[&str])] = &[
    ("Process", &["process_", "build_info"]),
    ("gRPC", &["grpc_", "connections"]),
    (
        "Upstream",
        &[
            "upstream_",
            "recovery_upstream_",
            "ingest_",
            "messages_",
            "control",
            "unknown",
            "foreign",
            "malformed",
            "oversized",
            "partial",
            "dropped",
            "refused_by_fence",
            "in_doubt",
            "side_",
            "duplicates",
            "deltas",
            "posts_",
        ],
    ),
    ("Gaps and recovery", &["gap", "recovery_"]),
    ("Log", &["account_open", "journal_", "maintenance_", "dedup_"]),
    ("Replication", &["leader", "lease_", "follow_", "shared_"]),
    ("Sessions", &["session", "sent_", "delivery_", "events_", "records_", "notices_", "cold_", "page_", "replays"]),
    ("Access", &["authent", "author", "limit_", "principal_", "credential_", "jwks_", "audit_"]),
    ("Rules", &["rule"]),
    ("TLS, configuration, shutdown", &["tls_", "reload", "config_", "draining"]),
];

fn section(name: &str) -> Option<usize> {
    let name = name.strip_prefix("powerstream_gateway_").unwrap_or(name);
    SECTIONS.iter().position(|(_, prefixes)| prefixes.iter().any(|prefix| name.starts_with(prefix)))
}

fn unit(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total").trim_end_matches("_max");
    match name {
        _ if name.ends_with("timestamp_seconds") || name.ends_with("start_time_seconds") => "s since 1970",
        _ if name.ends_with("_seconds") || name.ends_with("_seconds_left") => "s",
        _ if name.ends_with("_bytes") => "bytes",
        _ => "",
    }
}

fn table(scrape: &Scrape) -> String {
    let mut text = String::new();
    for (at, (title, _)) in SECTIONS.iter().enumerate() {
        writeln!(text, "### {title}\n\n| name | type | labels | unit | meaning |\n|---|---|---|---|---|")
            .expect("text");
        for (name, metric) in scrape.0.iter().filter(|(name, _)| section(name) == Some(at)) {
            let shown = name.strip_prefix("powerstream_gateway_").map_or(name.clone(), |name| format!("…{name}"));
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (kind, labels, unit, help) = (&metric.kind, labels.join(", "), unit(name), &metric.help);
            writeln!(text, "| `{shown}` | {kind} | {labels} | {unit} | {help} |").expect("text");
        }
        text.push('\n');
    }
    text
}

/// The reference has each metric of a scrape and no other. A fresh page is in `target/metrics.md`, and the scrape itself,
/// as plain text, in `target/metrics.prom`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reference_equals_scrape() {
    let (text, plain) = scrape::full().await;
    let scrape = Scrape::parse(&text);
    for (name, metric) in &scrape.0 {
        assert!(section(name).is_some(), "{name} has no section");
        assert!(!metric.help.is_empty() && !metric.samples.is_empty(), "{name}: {metric:?}");
        let id =
            metric.labels.iter().find(|label| ["session", "subject", "tag", "post", "rule"].contains(&label.as_str()));
        assert_eq!(id, None, "{name} has a label whose values have no bound");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join(PAGE)).expect("the page exists");
    let (before, rest) = page.split_once(BEGIN).expect("the page has the marker of its generated part");
    let (_, after) = rest.split_once(END).expect("the generated part has an end");
    let fresh = format!("{before}{BEGIN}\n{}{END}{after}", table(&scrape));
    let target = root.join("target");
    std::fs::write(target.join("metrics.md"), &fresh).expect("target is ours");
    std::fs::write(target.join("metrics.prom"), plain).expect("target is ours");
    assert!(page == fresh, "{PAGE} differs from a scrape: copy target/metrics.md to it");
}

/// Plain text has the same samples as OpenMetrics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_forms_have_same_samples() {
    let (text, plain) = scrape::full().await;
    let names = |text: &str| {
        let names = text.lines().filter(|line| !line.starts_with('#'));
        names
            .map(|line| line.split(['{', ' ']).next().unwrap_or_default().to_owned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names(&text), names(&plain));
    assert!(plain.contains("# TYPE powerstream_gateway_ingest_messages_total counter\n"), "{plain}");
    assert!(plain.contains("# TYPE powerstream_gateway_build_info gauge\n") && !plain.contains("# UNIT"), "{plain}");
}
