use std::collections::HashMap;
use std::time::Duration;

use url::Url;

use super::access;
use super::account::AccountSettings;
use super::error::ConfigError;
use super::ranges;
use super::replication;
use super::settings::Settings;
use super::validator::{Validator, is_bare_of_user, is_loopback};
use crate::grpc::Services;
use crate::journal::{Backend, Durability};
use crate::model::Rule;
use crate::telemetry;
use crate::xapi::is_local;

/// Shortest valid configuration.
const MINIMAL: &str = "there is no account. Write this to a file and name it with --config:\n\
    accounts:\n  - name: main\n    bearer: { file: /run/secrets/x-bearer }   # or { env: X_BEARER_TOKEN }";

/// Maximum rules of one stream, hence tags (Powerstream introduction).
const TAGS_MAX: usize = 1_000;

/// Returns the violated constraints between values of `settings`.
pub(super) fn faults(settings: &Settings) -> Vec<ConfigError> {
    let mut found = Validator(ranges::faults(settings, is_remote(settings)));
    ports(settings, &mut found);
    upstream(settings, &mut found);
    journal(settings, &mut found);
    replication::check(settings, &mut found);
    recovery(settings, &mut found);
    sessions(settings, &mut found);
    rules(settings, &mut found);
    telemetry(settings, &mut found);
    process(settings, &mut found);
    accounts(settings, &mut found);
    access::access(settings, &mut found);
    found.0
}

fn ports(settings: &Settings, found: &mut Validator) {
    let listen = &settings.grpc;
    let text = "any client that can reach this address could read all posts: use a loopback address such as \
                127.0.0.1:50051, or configure credentials in `auth`, or set grpc.allow_unauthenticated: true";
    let is_closed = is_loopback(listen.address.ip()) || settings.has_access_rules();
    found.check(is_closed || listen.allow_unauthenticated, "grpc.address", text);
    let same = listen.address == settings.admin.address && listen.address.port() != 0;
    found.check(!same, "admin.address", "this is grpc.address too: each port needs an address of its own");
    for (section, tls) in [("grpc", &listen.tls), ("admin", &settings.admin.tls)] {
        for fault in tls.faults() {
            found.check(false, format!("{section}.tls.{}", fault.key), fault.text);
        }
    }
    let hosts = &settings.admin.hosts;
    found.check(hosts.len() <= HOSTS_MAX, "admin.hosts", format!("there must be at most {HOSTS_MAX}"));
    for (n, host) in hosts.iter().enumerate().take(HOSTS_MAX) {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let good = (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(allowed);
        found.check(good, format!("admin.hosts[{n}]"), "this must be a host name, without scheme, port and path");
    }
}

/// Maximum names of the status page.
const HOSTS_MAX: usize = 100;
/// Longest host name (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// Returns whether an account reads from X, not from a simulator on this machine.
fn is_remote(settings: &Settings) -> bool {
    settings.accounts.iter().flat_map(AccountSettings::urls).any(|url| !is_local(url))
}

fn upstream(settings: &Settings, found: &mut Validator) {
    let upstream = &settings.upstream;
    for (name, step, max) in [
        ("network", upstream.network_backoff_step, upstream.network_backoff_max),
        ("http", upstream.http_backoff_step, upstream.http_backoff_max),
        ("rate_limit", upstream.rate_limit_backoff_step, upstream.rate_limit_backoff_max),
    ] {
        let text = format!("this must be at least upstream.{name}_backoff_step ({})", humantime::format_duration(step));
        found.check(max >= step, format!("upstream.{name}_backoff_max"), text);
    }
    if let Some(proxy) = &upstream.proxy {
        let text = "this must have no user and no password: run a proxy on this machine that adds them";
        found.check(is_bare_of_user(proxy), "upstream.proxy", text);
    }
}

fn journal(settings: &Settings, found: &mut Validator) {
    let journal = &settings.journal;
    let segment = journal.segment_bytes_max;
    let (bytes, unbounded) = (journal.retention_bytes_max, journal.retention_bytes_max == 0);
    let text = format!("this must be 0, or at least segment_bytes_max ({segment}): retention removes whole segments");
    found.check(unbounded || bytes >= segment, "journal.retention_bytes_max", text);
    let contradicts = journal.backend == Backend::Memory && journal.durability == Durability::Sync;
    let text = "the backend memory does not survive a power cut; use the backend embedded, or durability memory";
    found.check(!contradicts, "journal.durability", text);
}

fn recovery(settings: &Settings, found: &mut Validator) {
    let (recovery, half) = (&settings.ingest.recovery, settings.hub.recovery_window / 2);
    for (path, value) in [
        ("ingest.recovery.expiry_margin", recovery.expiry_margin),
        ("ingest.recovery.window_age_min", recovery.window_age_min),
        ("ingest.recovery.refusal_backoff_max", recovery.refusal_backoff_max),
        ("ingest.recovery.young_refusal_age_max", recovery.young_refusal_age_max),
    ] {
        let text = format!("this must be at most half of hub.recovery_window ({})", humantime::format_duration(half));
        found.check(value <= half, path, text);
    }
}

fn sessions(settings: &Settings, found: &mut Validator) {
    let age = settings.hub.session_age_max;
    let text = "this must be 0s, or at least 1s: a session has to deliver something before it is ended";
    found.check(age.is_zero() || age >= Duration::from_secs(1), "hub.session_age_max", text);
}

fn rules(settings: &Settings, found: &mut Validator) {
    let rules = &settings.rules;
    let most = rules.requests_max.saturating_sub(1);
    let text = format!("this must be at most {most}, so that ordinary work has one of rules.requests_max");
    found.check(rules.reserve < rules.requests_max, "rules.reserve", text);
    let interval = humantime::format_duration(rules.coalesce_interval);
    let text = format!("this must be at least rules.coalesce_interval ({interval})");
    found.check(rules.coalesce_max >= rules.coalesce_interval, "rules.coalesce_max", text);
    for (n, account) in settings.accounts.iter().enumerate().take(ACCOUNTS_MAX) {
        let path = format!("accounts[{n}].rules.files");
        let files = &account.rules.files;
        found.check(files.len() <= RULE_FILES_MAX, &path, format!("there must be at most {RULE_FILES_MAX}"));
        let named = files.iter().all(|file| !file.as_os_str().is_empty());
        found.check(named, &path, "each must name a file");
    }
}

fn telemetry(settings: &Settings, found: &mut Validator) {
    let telemetry = &settings.telemetry;
    if let Err(error) = telemetry::filter(&telemetry.log_filter) {
        found.check(false, "telemetry.log_filter", error.to_string());
    }
    if let Some(endpoint) = &telemetry.otlp_endpoint {
        let text = "this must be an http URL; for TLS, run a local collector that forwards the spans";
        found.check(endpoint.scheme() == "http", "telemetry.otlp_endpoint", text);
    }
    let (queue, batch) = (telemetry.otlp_queue_spans_max, telemetry.otlp_batch_spans_max);
    let text = format!("this must be 1 to otlp_queue_spans_max ({queue})");
    found.check((1..=queue.max(1)).contains(&batch), "telemetry.otlp_batch_spans_max", text);
}

fn process(settings: &Settings, found: &mut Validator) {
    found.check(!settings.data_dir.as_os_str().is_empty(), "data_dir", "this must name a directory");
    let text = "only a simulator's clock runs at another rate: with X it must be 1";
    found.check(settings.clock.rate == 1.0 || !is_remote(settings), "clock.rate", text);
    let files = &settings.token_key_files;
    found.check(files.len() <= KEY_FILES_MAX, "token_key_files", format!("there must be at most {KEY_FILES_MAX}"));
    for (n, file) in files.iter().enumerate().take(KEY_FILES_MAX) {
        let path = format!("token_key_files[{n}]");
        found.check(!file.as_os_str().is_empty(), &path, "this must name a file");
        found.check(!files[..n].contains(file), &path, "this file is named twice");
    }
}

fn accounts(settings: &Settings, found: &mut Validator) {
    found.check(!settings.accounts.is_empty(), "accounts", MINIMAL);
    let text = format!("there must be at most {ACCOUNTS_MAX}");
    found.check(settings.accounts.len() <= ACCOUNTS_MAX, "accounts", text);
    if let Some(default) = &settings.default_account {
        let known = settings.accounts.iter().any(|account| account.name.as_str() == default);
        found.check(known, "default_account", "this must be the name of one of the accounts");
    }
    let mut first = HashMap::new();
    let mut bearers = HashMap::new();
    for (n, account) in settings.accounts.iter().enumerate().take(ACCOUNTS_MAX) {
        let before = *first.entry(&account.name).or_insert(n);
        let text = format!("{} is the name of accounts[{before}] already", account.name);
        found.check(before == n, format!("accounts[{n}].name"), text);
        let name = account.name.as_str();
        let text = format!("{name} is reserved for the health of the gateway itself: choose another name");
        found.check(!RESERVED_NAMES.contains(&name), format!("accounts[{n}].name"), text);
        let urls: Vec<_> = account.urls().map(Url::as_str).collect();
        let before = *bearers.entry((account.bearer.to_string(), urls)).or_insert(n);
        let text =
            format!("accounts[{before}] has this bearer too, at the same URL: X would count both as one account");
        found.check(before == n, format!("accounts[{n}].bearer"), text);
        url(format!("accounts[{n}].url"), &account.url, found);
        connections(n, account, found);
        tags(n, account, found);
    }
}

/// Maximum number of key files: a key stays while tokens that it signed are in use, and keys are rotated.
const KEY_FILES_MAX: usize = 100;
/// Maximum number of files with rules of an account.
const RULE_FILES_MAX: usize = 100;
/// Maximum number of accounts of a process.
const ACCOUNTS_MAX: usize = 1_000;
/// Names of the gateway itself in the health service.
const RESERVED_NAMES: [&str; 1] = [Services::READY];
/// Maximum number of datacenters of an account.
const DATACENTERS_MAX: usize = 8;

fn connections(n: usize, account: &AccountSettings, found: &mut Validator) {
    let path = format!("accounts[{n}].datacenters");
    let text = format!("there must be at most {DATACENTERS_MAX}");
    found.check(account.datacenters.len() <= DATACENTERS_MAX, &path, text);
    let text = "these take the place of connections and local_dc_only: leave those out";
    let alone = account.connections == 1 && !account.local_dc_only;
    found.check(account.datacenters.is_empty() || alone, &path, text);
    for (d, datacenter) in account.datacenters.iter().enumerate().take(DATACENTERS_MAX) {
        url(format!("{path}[{d}].url"), &datacenter.url, found);
        let again = account.datacenters[..d].iter().any(|earlier| earlier.name == datacenter.name);
        // `all` is the name of the feed of an account without datacenters.
        let own = !again && !["", "all"].contains(&datacenter.name.as_str());
        found.check(own, format!("{path}[{d}].name"), "each needs a name of its own, other than 'all'");
    }
}

fn url(path: String, url: &Url, found: &mut Validator) {
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_local(url));
    found.check(
        safe,
        &path,
        "this must be an https URL, because the bearer token is sent there; http is for loopback only",
    );
    let bare = is_bare_of_user(url) && url.query().is_none() && url.fragment().is_none();
    found.check(bare, &path, "this must have no user, password, query or fragment");
}

fn tags(n: usize, account: &AccountSettings, found: &mut Validator) {
    let path = format!("accounts[{n}].tags");
    found.check(account.tags.len() <= TAGS_MAX, &path, format!("there must be at most {TAGS_MAX}"));
    for (t, tag) in account.tags.iter().enumerate().take(TAGS_MAX) {
        let good = (1..=Rule::TAG_BYTES_MAX).contains(&tag.len());
        found.check(good, format!("{path}[{t}]"), format!("a tag has 1 to {} bytes", Rule::TAG_BYTES_MAX));
    }
}
