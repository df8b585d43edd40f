//! Constraints of replication.

use super::settings::Settings;
use super::validator::{Validator, is_bare_of_user};
use crate::journal::Backend;
use crate::rules::Mode;

/// Longest name of a replica.
const NAME_BYTES_MAX: usize = 253;
/// Maximum URLs of servers.
const SERVERS_MAX: usize = 16;

/// Checks the section `replication`, if there are other replicas.
pub(super) fn check(settings: &Settings, found: &mut Validator) {
    let own = &settings.replication;
    if !own.is_enabled() {
        return;
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = (1..=NAME_BYTES_MAX).contains(&own.name.len()) && own.name.bytes().all(allowed);
    let text =
        "each replica needs a name of its own, the same after a restart: set it, for example to the name of its pod";
    found.check(is_name, "replication.name", text);
    let servers = &own.nats.servers;
    let text = format!("there must be 1 to {SERVERS_MAX} URLs such as nats://nats-0:4222");
    found.check((1..=SERVERS_MAX).contains(&servers.len()), "replication.nats.servers", text);
    for (n, url) in servers.iter().enumerate().take(SERVERS_MAX) {
        let path = format!("replication.nats.servers[{n}]");
        let text = "this must have no user and no password: use replication.nats.credentials_file";
        found.check(is_bare_of_user(url), path, text);
    }
    let text = "set this: JetStream reserves it on each node, for each account";
    found.check(own.stream_bytes_max > 0, "replication.stream_bytes_max", text);
    let window = settings.ingest.dedup.window.max(settings.journal.retention_age_max);
    let text = format!(
        "this must be at least {}: a new replica learns from the shared log which posts are known \
         (ingest.dedup.window, journal.retention_age_max)",
        humantime::format_duration(window)
    );
    found.check(own.retention >= window, "replication.retention", text);
    let text = "replicas verify each other's tokens: name a file with the same key for all of them";
    found.check(!settings.token_key_files.is_empty(), "token_key_files", text);
    let text = "a replica needs the backend embedded";
    found.check(settings.journal.backend == Backend::Embedded, "journal.backend", text);
    for (n, account) in settings.accounts.iter().enumerate() {
        let text = "replicas do not share the budget of rule changes yet: only observe is possible with replication";
        found.check(account.rules.mode == Mode::Observe, format!("accounts[{n}].rules.mode"), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::replication::{Config, ReplicationBackend};

    fn settings(servers: &[&str]) -> Settings {
        let mut settings = Settings { token_key_files: vec!["key".into()], ..Settings::default() };
        settings.replication = Config {
            backend: ReplicationBackend::Nats,
            name: "gateway-0".into(),
            stream_bytes_max: 1 << 30,
            ..Config::default()
        };
        settings.replication.nats.servers = servers.iter().map(|url| url.parse().expect("a URL")).collect();
        settings
    }

    fn faults(settings: &Settings) -> Vec<String> {
        let mut found = Validator(Vec::new());
        check(settings, &mut found);
        found.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_unusable_replica_is_refused() {
        let good = settings(&["nats://a:4222"]);
        assert_eq!(faults(&good), Vec::<String>::new());
        type Change = fn(&mut Settings);
        let changes: [(&str, Change); 8] = [
            ("replication.name", |own| own.replication.name.clear()),
            ("replication.name", |own| own.replication.name = "a b".into()),
            ("replication.nats.servers", |own| own.replication.nats.servers.clear()),
            ("replication.nats.servers[0]", |own| *own = settings(&["nats://user:hunter2@a:4222"])),
            ("replication.stream_bytes_max", |own| own.replication.stream_bytes_max = 0),
            ("replication.retention", |own| own.journal.retention_age_max *= 2),
            ("token_key_files", |own| own.token_key_files.clear()),
            ("journal.backend", |own| own.journal.backend = Backend::Memory),
        ];
        for (path, change) in changes {
            let mut other = good.clone();
            change(&mut other);
            let found = faults(&other);
            assert!(found.len() == 1 && found[0].contains(path), "{path}: {found:?}");
            assert!(!found[0].contains("hunter2"), "a secret is shown");
            other.replication.backend = ReplicationBackend::None;
            assert_eq!(faults(&other), Vec::<String>::new(), "without other replicas");
        }
    }
}
