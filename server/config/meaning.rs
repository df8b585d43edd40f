use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use url::{Host, Url};

use super::fault::Fault;
use super::{Account, Settings};
use crate::journal::{Backend, Durability};
use crate::telemetry;

/// What a configuration must have at least.
const MINIMAL: &str = "there is no account. Write this to a file and name it with --config:\n\
    accounts:\n  - name: main\n    bearer: { file: /run/secrets/x-bearer }   # or { env: X_BEARER_TOKEN }";

/// Longest tag, in bytes: the API's bound for a term of a filter.
const TAG_BYTES_MAX: usize = 1_020;

/// Rules of one stream, hence tags (Powerstream introduction).
const TAGS_MAX: usize = 1_000;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// 365.25 days, which is how durations are read.
const YEAR: Duration = Duration::from_secs(31_557_600);

/// All that the values of `settings` cannot mean together.
pub(super) fn faults(settings: &Settings) -> Vec<Fault> {
    let mut found = Found(Vec::new());
    ports(settings, &mut found);
    admin(settings, &mut found);
    journal(settings, &mut found);
    recovery(settings, &mut found);
    telemetry(settings, &mut found);
    process(settings, &mut found);
    accounts(settings, &mut found);
    found.0
}

struct Found(Vec<Fault>);

impl Found {
    fn check(&mut self, good: bool, path: impl Into<String>, text: impl Into<String>) {
        if !good {
            self.0.push(Fault::new(path, text));
        }
    }

    fn within(&mut self, path: &str, value: Duration, min: Duration, max: Duration) {
        let shown = humantime::format_duration;
        let text = format!("this must be between {} and {}, not {}", shown(min), shown(max), shown(value));
        self.check((min..=max).contains(&value), path, text);
    }
}

fn ports(settings: &Settings, found: &mut Found) {
    let listen = &settings.listen;
    let text = "anybody who can reach this address could read all posts: use a loopback address such as \
                127.0.0.1:50051, or say listen.allow_unauthenticated: true";
    found.check(is_loopback(listen.address.ip()) || listen.allow_unauthenticated, "listen.address", text);
    let same = listen.address == settings.admin.address && listen.address.port() != 0;
    found.check(!same, "admin.address", "this is listen.address too: each port needs an address of its own");
}

fn admin(settings: &Settings, found: &mut Found) {
    let admin = &settings.admin;
    let tenth = Duration::from_millis(100);
    found.within("admin.header_timeout", admin.header_timeout, tenth, MINUTE);
    found.within("admin.exchange_timeout", admin.exchange_timeout, tenth, 10 * MINUTE);
    found.within("admin.drain_timeout", admin.drain_timeout, Duration::ZERO, MINUTE);
}

fn journal(settings: &Settings, found: &mut Found) {
    let journal = &settings.journal;
    found.within("journal.retention_age_max", journal.retention_age_max, MINUTE, YEAR);
    let segment = journal.segment_bytes_max;
    found.check((4 << 10..=4 << 30).contains(&segment), "journal.segment_bytes_max", "this must be 4096 to 4294967296");
    let (bytes, unbounded) = (journal.retention_bytes_max, journal.retention_bytes_max == 0);
    let text = format!("this must be 0, or at least segment_bytes_max ({segment}): retention goes by whole segments");
    found.check(unbounded || bytes >= segment, "journal.retention_bytes_max", text);
    let text = "this must be at most 1099511627776 (1 TiB): with less than this free, records are removed";
    found.check(journal.disk_headroom_bytes_min <= 1 << 40, "journal.disk_headroom_bytes_min", text);
    let contradicts = journal.backend == Backend::Memory && journal.durability == Durability::Sync;
    let text = "sync survives a power cut, which the backend memory cannot: use the backend embedded, or memory here";
    found.check(!contradicts, "journal.durability", text);
}

fn recovery(settings: &Settings, found: &mut Found) {
    let (recovery, reach) = (&settings.ingest.recovery, settings.hub.recovery_window);
    found.within("hub.recovery_window", reach, 10 * MINUTE, YEAR);
    found.within("ingest.recovery.window_max", recovery.window_max, MINUTE, 24 * 60 * MINUTE);
    // One minute, for windows are rounded to whole minutes.
    found.within("ingest.recovery.clip", recovery.clip, MINUTE, reach / 2);
    found.within("ingest.recovery.freshness", recovery.freshness, Duration::ZERO, reach / 2);
    found.within("ingest.recovery.retention", recovery.retention, Duration::ZERO, YEAR);
    let path = "ingest.recovery.jobs_max";
    found.check((1..=100).contains(&recovery.jobs_max), path, "this must be 1 to 100; X allows 2");
    found.within(
        "ingest.recovery.refusal_backoff_max",
        recovery.refusal_backoff_max,
        Duration::from_secs(1),
        reach / 2,
    );
    found.within("ingest.recovery.young_refusal_age_max", recovery.young_refusal_age_max, Duration::ZERO, reach / 2);
    found.within("ingest.recovery.overlap_max", recovery.overlap_max, Duration::ZERO, 10 * MINUTE);
    let path = "ingest.recovery.vain_attempts_per_hour_max";
    found.check(recovery.vain_attempts_per_hour_max >= 2, path, "this must be at least 2");
}

fn telemetry(settings: &Settings, found: &mut Found) {
    let telemetry = &settings.telemetry;
    if let Err(error) = telemetry::filter(&telemetry.log_filter) {
        found.check(false, "telemetry.log_filter", error.to_string());
    }
    if let Some(endpoint) = &telemetry.otlp_endpoint {
        let text = "this must be an http URL: run a collector beside the gateway, which exports further with TLS";
        found.check(endpoint.scheme() == "http", "telemetry.otlp_endpoint", text);
    }
    let (queue, batch) = (telemetry.otlp_queue_spans_max, telemetry.otlp_batch_spans_max);
    found.check((1..=1 << 20).contains(&queue), "telemetry.otlp_queue_spans_max", "this must be 1 to 1048576");
    let text = format!("this must be 1 to otlp_queue_spans_max ({queue})");
    found.check((1..=queue.max(1)).contains(&batch), "telemetry.otlp_batch_spans_max", text);
    found.within("telemetry.otlp_delay", telemetry.otlp_delay, Duration::from_millis(10), 10 * MINUTE);
    found.within("telemetry.otlp_timeout", telemetry.otlp_timeout, Duration::from_millis(10), 10 * MINUTE);
    found.within("telemetry.otlp_flush_timeout", telemetry.otlp_flush_timeout, Duration::ZERO, MINUTE);
}

fn process(settings: &Settings, found: &mut Found) {
    found.within("drain_deadline", settings.drain_deadline, SECOND, 60 * MINUTE);
    found.check(!settings.data_dir.as_os_str().is_empty(), "data_dir", "this must name a directory");
    let rate = settings.clock.rate;
    found.check((0.001..=10_000.0).contains(&rate), "clock.rate", "this must be 0.001 to 10000");
    let urls = |account: &Account| {
        let others: Vec<_> = account.datacenters.iter().map(|datacenter| datacenter.url.clone()).collect();
        std::iter::once(account.url.clone()).chain(others)
    };
    let remote = settings.accounts.iter().flat_map(urls).any(|url| !is_local(&url));
    let text = "only a simulator's clock runs at another rate: with X it must be 1";
    found.check(rate == 1.0 || !remote, "clock.rate", text);
    for (n, file) in settings.token_key_files.iter().enumerate() {
        let path = format!("token_key_files[{n}]");
        found.check(!file.as_os_str().is_empty(), &path, "this must name a file");
        found.check(!settings.token_key_files[..n].contains(file), &path, "this file is named twice");
    }
}

fn accounts(settings: &Settings, found: &mut Found) {
    found.check(!settings.accounts.is_empty(), "accounts", MINIMAL);
    let mut first = HashMap::new();
    for (n, account) in settings.accounts.iter().enumerate() {
        let before = *first.entry(&account.name).or_insert(n);
        let text = format!("{} is the name of accounts[{before}] already", account.name);
        found.check(before == n, format!("accounts[{n}].name"), text);
        url(format!("accounts[{n}].url"), &account.url, found);
        connections(n, account, found);
        tags(n, account, found);
    }
}

/// Most connections of an account: X allows few, and names no number.
const CONNECTIONS_MAX: usize = 8;

fn connections(n: usize, account: &Account, found: &mut Found) {
    let path = format!("accounts[{n}].connections");
    let text = format!("this must be 1 to {CONNECTIONS_MAX}");
    found.check((1..=CONNECTIONS_MAX).contains(&usize::from(account.connections)), &path, text);
    let path = format!("accounts[{n}].datacenters");
    let text = format!("there must be at most {CONNECTIONS_MAX}");
    found.check(account.datacenters.len() <= CONNECTIONS_MAX, &path, text);
    let text = "these take the place of connections and local_dc_only: leave those out";
    let alone = account.connections == 1 && !account.local_dc_only;
    found.check(account.datacenters.is_empty() || alone, &path, text);
    for (d, datacenter) in account.datacenters.iter().enumerate() {
        url(format!("{path}[{d}].url"), &datacenter.url, found);
        let again = account.datacenters[..d].iter().any(|earlier| earlier.name == datacenter.name);
        // `all` is the name of the feed of an account without datacenters.
        let own = !again && !["", "all"].contains(&datacenter.name.as_str());
        found.check(own, format!("{path}[{d}].name"), "each needs a name of its own, other than 'all'");
    }
}

fn url(path: String, url: &Url, found: &mut Found) {
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_local(url));
    found.check(safe, &path, "this must be an https URL, for the bearer goes there; http is for loopback only");
    let bare =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    found.check(bare, &path, "this must have no user, password, query or fragment");
}

fn tags(n: usize, account: &Account, found: &mut Found) {
    let path = format!("accounts[{n}].tags");
    found.check(account.tags.len() <= TAGS_MAX, &path, format!("there must be at most {TAGS_MAX}"));
    for (t, tag) in account.tags.iter().enumerate() {
        let good = (1..=TAG_BYTES_MAX).contains(&tag.len());
        found.check(good, format!("{path}[{t}]"), format!("a tag has 1 to {TAG_BYTES_MAX} bytes"));
    }
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => is_loopback(address.into()),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
