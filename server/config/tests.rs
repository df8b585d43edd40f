use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::secret::SecretSource;

mod access;
mod chart;
mod input;
mod tls;

const MINIMAL: &str = "accounts:\n  - name: main\n    bearer: { file: /run/secrets/x-bearer }\n";

type Pairs<'p> = &'p [(&'p str, &'p str)];

fn owned(pairs: Pairs<'_>) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load_text(
    extension: &str,
    text: &str,
    overrides: Pairs<'_>,
    environment: Pairs<'_>,
) -> Result<Settings, ConfigErrors> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(format!("config.{extension}"));
    std::fs::write(&path, text).expect("written");
    load(Some(&path), &owned(overrides), owned(environment).into_iter())
}

fn yaml(text: &str) -> Result<Settings, ConfigErrors> {
    load_text("yaml", text, &[], &[])
}

/// Asserts that the faults are exactly these paths with these words.
fn check(outcome: Result<Settings, ConfigErrors>, expected: &[(&str, &str)]) {
    let faults = outcome.expect_err("refused");
    let paths: Vec<_> = faults.all().iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, expected.iter().map(|(path, _)| *path).collect::<Vec<_>>(), "{faults}");
    for (fault, (_, word)) in faults.all().iter().zip(expected) {
        assert!(fault.to_string().contains(word), "{word} in {fault}");
    }
}

#[test]
fn minimal_file_is_enough() {
    let settings = yaml(MINIMAL).expect("good");
    let [account] = settings.accounts.as_slice() else { panic!("one account") };
    assert_eq!(account.name.as_str(), "main");
    assert_eq!(account.bearer, SecretSource::File(PathBuf::from("/run/secrets/x-bearer")));
    assert_eq!(account.url.as_str(), "https://api.x.com/");
    assert_eq!(Settings { accounts: Vec::new(), ..settings }, Settings::default());
}

#[test]
fn each_fault_is_reported_with_path() {
    let top = |more: &str| format!("{MINIMAL}{more}\n");
    for (text, path, word) in [
        (top("jornal: {}"), "jornal", "did you mean journal?"),
        (
            top("kafka: {}"),
            "kafka",
            "unknown key; known keys: account_retry_interval, accounts, admin, auth, clock, data_dir",
        ),
        (top("journal: { durabilty: sync }"), "journal.durabilty", "did you mean durability?"),
        (top("admin: { adress: '127.0.0.1:1' }"), "admin.adress", "did you mean address?"),
        (top("grpc: { tls: true }"), "grpc.tls", "a section with keys, not true or false"),
        (top("journal: 5"), "journal", "must be a section with keys, not a whole number"),
        (top("journal: { retention_bytes_max: many }"), "journal.retention_bytes_max", "a whole number, not a text"),
        (top("journal: { retention_bytes_max: -1 }"), "journal.retention_bytes_max", "at least 0"),
        (top("journal: { durability: synk }"), "journal.durability", "memory, os, sync; did you mean sync?"),
        (top("journal: { retention_age_max: 5 }"), "journal.retention_age_max", "a duration has a unit, as in 1day"),
        (top("shutdown_timeout: 5 parsecs"), "shutdown_timeout", "a number and a unit, as in 500ms"),
        (top("shutdown_timeout: 0s"), "shutdown_timeout", "between 1s and 1h, not 0s"),
        (top("shutdown_timeout: 900days"), "shutdown_timeout", "between 1s and 1h"),
        (top("journal: { retention_age_max: 1s }"), "journal.retention_age_max", "between 1m and 1year"),
        (top("journal: { retention_bytes_max: 1000 }"), "journal.retention_bytes_max", "0, or at least"),
        (
            top("journal: { disk_headroom_bytes_min: 2199023255552 }"),
            "journal.disk_headroom_bytes_min",
            "at most 1099511627776",
        ),
        (top("journal: { segment_bytes_max: 0 }"), "journal.segment_bytes_max", "at least 4096"),
        (top("journal: { backend: memory, durability: sync }"), "journal.durability", "power cut"),
        (top("grpc: { address: localhost }"), "grpc.address", "as in 127.0.0.1:50051"),
        (top("grpc: { address: '0.0.0.0:50051' }"), "grpc.address", "allow_unauthenticated: true"),
        (top("grpc: { address: '[::]:50051' }"), "grpc.address", "allow_unauthenticated: true"),
        (top("admin: { address: '127.0.0.1:50051' }"), "admin.address", "grpc.address too"),
        (top("admin: { hosts: [ok.example.com, 'http://x'] }"), "admin.hosts[1]", "without scheme"),
        (top("admin: { connections_max: 0 }"), "admin.connections_max", "at least 1"),
        (top("telemetry: { log_format: xml }"), "telemetry.log_format", "text, json"),
        (top("telemetry: { log_filter: 'a=b=c' }"), "telemetry.log_filter", "expected a level"),
        (top("telemetry: { otlp_endpoint: 'https://c:4317' }"), "telemetry.otlp_endpoint", "an http URL"),
        (top("telemetry: { otlp_endpoint: 'collector' }"), "telemetry.otlp_endpoint", "a URL"),
        (top("telemetry: { otlp_batch_spans_max: 0 }"), "telemetry.otlp_batch_spans_max", "at least 1"),
        (top("upstream: { batch_bytes_max: 0 }"), "upstream.batch_bytes_max", "at least 1024"),
        (top("upstream: { healthy_after: 0s }"), "upstream.healthy_after", "X needs as much"),
        (top("upstream: { stale_after: 5s }"), "upstream.stale_after", "between 22s and 1day"),
        (top("upstream: { http_backoff_step: 1s }"), "upstream.http_backoff_step", "between 5s and"),
        (top("upstream: { jitter_percent_max: 255 }"), "upstream.jitter_percent_max", "at most 100"),
        (
            top("upstream: { http_backoff_step: 10m }"),
            "upstream.http_backoff_max",
            "at least upstream.http_backoff_step",
        ),
        (top("upstream: { proxy: 'http://me:it@proxy:3128' }"), "upstream.proxy", "no password"),
        (top("hub: { session_age_max: 1ms }"), "hub.session_age_max", "0s, or at least 1s"),
        (top("upstream: { response_timeout: 200ms }"), "upstream.response_timeout", "X needs as much"),
        (top("upstream: { post_rules_max: 10 }"), "upstream.post_rules_max", "at least 1000"),
        (top("hub: { allowed_lateness: 0s }"), "hub.allowed_lateness", "between 1s and"),
        (top("ingest: { dedup: { window: 1s } }"), "ingest.dedup.window", "between 1day and"),
        (top("ingest: { gaps: { backfill_minutes_max: 9 } }"), "ingest.gaps.backfill_minutes_max", "at most 5"),
        (top("grpc: { ping_interval: 0s }"), "grpc.ping_interval", "between 1s and"),
        (top("grpc: { connections_max: 9223372036854775807 }"), "grpc.connections_max", "at most 1000000"),
        (top("grpc: { send_buffer_bytes_max: 4294967296 }"), "grpc.send_buffer_bytes_max", "at most 67108864"),
        (top("clock: { rate: 0 }"), "clock.rate", "at least 0.001"),
        (top("clock: { rate: 60 }"), "clock.rate", "with X it must be 1"),
        (top("token_key_files: [a, a]"), "token_key_files[1]", "twice"),
        (top("token_key_files: a"), "token_key_files", "a list, not a text"),
        (top("token_key_files: [1]"), "token_key_files[0]", "a text, not a whole number"),
    ] {
        check(yaml(&text), &[(path, word)]);
    }
}

#[test]
fn account_errors_name_their_path() {
    let account = |more: &str| format!("{MINIMAL}    {more}\n");
    for (text, path, word) in [
        (account("urll: x"), "accounts[0].urll", "did you mean url?"),
        ("accounts: [{ name: a, bearer: { fil: x } }]".into(), "accounts[0].bearer.fil", "did you mean file?"),
        ("accounts: [{ bearer: { env: X } }]".into(), "accounts[0].name", "missing"),
        ("accounts: [{ name: a }]".into(), "accounts[0].bearer", "missing"),
        ("accounts: [{ name: A_b, bearer: { env: X } }]".into(), "accounts[0].name", "1 to 63 characters"),
        ("accounts: [{ name: a, bearer: {} }]".into(), "accounts[0].bearer", "exactly one of file and env"),
        ("accounts: [{ name: a, bearer: { file: x, env: Y } }]".into(), "accounts[0].bearer", "exactly one"),
        ("accounts: [{ name: a, bearer: { file: '' } }]".into(), "accounts[0].bearer", "exactly one"),
        ("accounts: [{ name: a, bearer: { env: 'AAA%3D' } }]".into(), "accounts[0].bearer", "X_BEARER_TOKEN"),
        ("accounts: [5]".into(), "accounts[0]", "a section with keys, not a whole number"),
        ("accounts: main".into(), "accounts", "a list, not a text"),
        (account("url: http://api.x.com"), "accounts[0].url", "an https URL"),
        (account("url: ftp://localhost"), "accounts[0].url", "an https URL"),
        (account("url: https://me:it@api.x.com"), "accounts[0].url", "no user"),
        (account("url: nowhere"), "accounts[0].url", "a URL"),
        (account("local_dc_only: yes please"), "accounts[0].local_dc_only", "true or false, not a text"),
        ("accounts: [{ name: ready, bearer: { env: X } }]".into(), "accounts[0].name", "reserved"),
        (format!("{MINIMAL}default_account: other"), "default_account", "one of the accounts"),
        (format!("{MINIMAL}default_account: ''"), "default_account", "one of the accounts"),
        (account("connections: 9"), "accounts[0].connections", "at most 8"),
        (
            "accounts: [{ name: a, bearer: { env: X } }, { name: b, bearer: { env: X } }]".into(),
            "accounts[1].bearer",
            "accounts[0] has this bearer too",
        ),
        (account("tags: [cats, '']"), "accounts[0].tags[1]", "1 to 1020 bytes"),
        (format!("{MINIMAL}  - name: main\n    bearer: {{ env: X }}"), "accounts[1].name", "accounts[0] already"),
        (String::new(), "accounts", "Write this to a file"),
        ("accounts:\n".into(), "accounts", "bearer: { file:"),
    ] {
        check(yaml(&text), &[(path, word)]);
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let text = "
        jornal: {}
        shutdown_timeout: 3 fortnights
        journal: { durability: synk, retention_age_max: 0s, segment_bytes_max: big }
        grpc: { address: 0.0.0.0:50051 }
        accounts:
          - { name: A, bearer: { file: x } }
          - { name: b, bearer: {}, url: http://example.com }
          - { name: b, bearer: { env: X } }
          - { bearer: { env: Y }, tag: [] }";
    check(
        yaml(text),
        &[
            ("accounts[0].name", "a-z"),
            ("accounts[1].bearer", "exactly one"),
            ("accounts[1].url", "https"),
            ("accounts[2].name", "already"),
            ("accounts[3].name", "missing"),
            ("accounts[3].tag", "did you mean tags?"),
            ("grpc.address", "loopback"),
            ("jornal", "did you mean"),
            ("journal.durability", "sync"),
            ("journal.retention_age_max", "between"),
            ("journal.segment_bytes_max", "a whole number"),
            ("shutdown_timeout", "a unit"),
        ],
    );
}

#[test]
fn pasted_secret_is_not_shown() {
    for text in [
        "accounts: [{ name: a, bearer: hunter2hunter2 }]",
        "accounts: [{ name: a, bearer: { file: [hunter2hunter2] } }]",
        "accounts: [{ name: a, bearer: { env: hunter2%3D } }]",
        "accounts: [{ name: hunter2%3D, bearer: { env: X } }]",
        "accounts: [{ name: a, bearer: { token: hunter2hunter2 } }]",
        "accounts: [{ name: a, bearer: { hunter2hunter2: x } }]",
        "hunter2hunter2: x",
        "accounts: { hunter2: x, hunter2: x }",
        "upstream: { proxy: 'http://a:hunter2hunter2@proxy' }\naccounts: [{ name: a, bearer: { env: X } }]",
        "accounts: [{ name: a, bearer: { env: X }, url: 'https://a:hunter2hunter2@api.x.com' }]",
        "accounts: [{ name: a, bearer: { env: X }, local_dc_only: hunter2hunter2 }]",
        "accounts: [{ name: a, bearer: hunter2hunter2: {{",
    ] {
        let faults = yaml(text).expect_err("refused");
        assert!(!format!("{faults} {faults:?}").contains("hunter2"), "{faults}");
    }
    let faults = load_text("toml", "data_dir = hunter2hunter2\n", &[], &[]).expect_err("refused");
    assert!(!faults.to_string().contains("hunter2"), "{faults}");
    assert!(faults.to_string().contains("line 1"), "{faults}");
    let faults = load_text("toml", "hunter2 = 1\nhunter2 = 2\n", &[], &[]).expect_err("refused");
    assert!(!faults.to_string().contains("hunter2"), "{faults}");
    let (environment, overrides) =
        ([("POWERSTREAM_GATEWAY__HUNTER2", "x")], [("journal.hunter2", "x"), ("hunter2", "x")]);
    let faults = load_text("yaml", MINIMAL, &overrides, &environment).expect_err("refused");
    assert!(!format!("{faults} {faults:?}").to_lowercase().contains("hunter2"), "{faults}");
}

#[test]
fn toml_and_yaml_mean_same() {
    let toml = "
        data_dir = '/var/lib/gateway'
        shutdown_timeout = '10s'
        [journal]
        durability = 'sync'
        retention_bytes_max = 1000000000
        [clock]
        rate = 60.0
        [[accounts]]
        name = 'main'
        bearer.env = 'TOKEN'
        url = 'http://127.0.0.1:8080/base'
        tags = ['cats', 'dogs']";
    let same = "
        data_dir: /var/lib/gateway
        shutdown_timeout: 10s
        journal:
          durability: sync
          retention_bytes_max: 1000000000
        clock: { rate: 60 }
        accounts:
          - name: main
            bearer: { env: TOKEN }
            url: http://127.0.0.1:8080/base
            tags: [cats, dogs]";
    let settings = load_text("toml", toml, &[], &[]).expect("good");
    assert_eq!(settings, yaml(same).expect("good"));
    assert_eq!(settings.clock.clock().rate(), 60.0);
    assert_eq!(settings.accounts[0].bearer, SecretSource::Environment("TOKEN".to_owned()));
}

#[test]
fn override_order_file_env_cli() {
    let text = format!("{MINIMAL}journal: {{ durability: memory, retention_bytes_max: 5 }}\ntelemetry:\n");
    let environment = [
        ("POWERSTREAM_GATEWAY__JOURNAL__DURABILITY", "os"),
        ("POWERSTREAM_GATEWAY__JOURNAL__RETENTION_BYTES_MAX", "123456789"),
        ("POWERSTREAM_GATEWAY__GRPC__ALLOW_UNAUTHENTICATED", "true"),
        ("POWERSTREAM_GATEWAY__TELEMETRY__OTLP_ENDPOINT", ""),
        ("POWERSTREAM_GATEWAY__TELEMETRY__LOG_FILTER", "off"),
        ("POWERSTREAM_GATEWAY__DATA_DIR", "123"),
        ("POWERSTREAM_GATEWAY__CLOCK__RATE", "1"),
        ("POWERSTREAM_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("HOME", "/root"),
    ];
    let overrides = [("journal.durability", "sync"), ("token_key_files", r#"["one"]"#)];
    let settings = load_text("yml", &text, &overrides, &environment).expect("good");
    assert_eq!(settings.journal.durability, journal::Durability::Sync);
    assert_eq!(settings.journal.retention_bytes_max, 123_456_789);
    assert!(settings.grpc.allow_unauthenticated);
    assert_eq!(settings.telemetry.log_filter, "off");
    assert_eq!(settings.data_dir, PathBuf::from("123"));
    assert_eq!(settings.token_key_files, [PathBuf::from("one")]);
}

#[test]
fn override_errors_name_their_source() {
    let environment = [
        ("POWERSTREAM_GATEWAY__JORNAL__DURABILITY", "os"),
        ("POWERSTREAM_GATEWAY__ACCOUNTS__0__NAME", "x"),
        ("POWERSTREAM_GATEWAY__CLOCK__RATE", "fast"),
        ("POWERSTREAM_GATEWAY__TOKEN_KEY_FILES", "[]"),
    ];
    let overrides = [("shutdown_timeout", "0s"), ("journal", "x"), ("a[99999999999]..", ""), ("", "")];
    check(
        load_text("yaml", MINIMAL, &overrides, &environment),
        &[
            ("", "unknown key; known keys: "),
            ("(a name that is not shown)", "unknown key; known keys: "),
            ("accounts.0.name", "POWERSTREAM_GATEWAY__ACCOUNTS__0__NAME"),
            ("clock.rate", "a number (set by the environment variable POWERSTREAM_GATEWAY__CLOCK__RATE)"),
            ("jornal", "did you mean journal? (set by the environment variable POWERSTREAM_GATEWAY__JORNAL"),
            ("journal", "set one of the keys below it"),
            ("shutdown_timeout", "(set by the command line)"),
            ("token_key_files", "lists are set in the file only"),
        ],
    );
}

#[test]
fn what_is_rendered_means_same() {
    let odd = ["yes", "null", "1e5", "0x1F", "a: b", "#no", "- x", "ä\"\\\n\t", "1.5", "~", "2026-01-01", "a:", "é"];
    let mut settings = yaml(MINIMAL).expect("good");
    settings.accounts[0].tags = odd.map(str::to_owned).to_vec();
    settings.token_key_files = odd.map(PathBuf::from).to_vec();
    settings.clock.origin_ms = Some(-5);
    settings.shutdown_timeout = Duration::from_millis(61_001);
    settings.telemetry.otlp_endpoint = Some("http://127.0.0.1:4317".parse().expect("a URL"));
    let text = settings.render();
    assert_eq!(yaml(&text).unwrap_or_else(|faults| panic!("{faults}\n{text}")), settings, "{text}");
    assert!(Settings::default().render().contains("accounts: []\n"));
}

/// Keys of list entries that the example does not have.
const ENTRY_KEYS: [&str; 17] = [
    "env",
    "san",
    "principal",
    "issuer",
    "audiences",
    "algorithms",
    "keys",
    "url",
    "ca_file",
    "bearer_file",
    "file",
    "lifetime_max",
    "default_roles",
    "tags_claim",
    "claim",
    "value",
    "role",
];

#[test]
fn example_has_every_key_and_its_default() {
    let example = example();
    let settings = yaml(&example).expect("good");
    let (accounts, roles, principals) = (Vec::new(), Vec::new(), Vec::new());
    assert_eq!(Settings { accounts, roles, principals, ..settings }, Settings::default());
    for key in keys(&schema()) {
        let found = example.lines().any(|line| line.trim_start_matches([' ', '-']).starts_with(&format!("{key}:")));
        assert!(found || ENTRY_KEYS.contains(&key.as_str()), "{key} is in the example");
    }
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.example.yaml");
    if std::fs::read_to_string(kept).unwrap_or_default() != example {
        let fresh = concat!(env!("CARGO_MANIFEST_DIR"), "/target/config.example.yaml");
        std::fs::write(fresh, example).expect("written");
        panic!("{kept} is out of date: replace it by {fresh}");
    }
}

#[test]
fn every_key_is_explained_in_schema() {
    fn explained(node: &Value, path: &str) {
        for (key, property) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
            assert!(property.get("description").is_some_and(Value::is_string), "{path}.{key} has a description");
        }
    }
    let schema = schema();
    explained(&schema, "");
    for (name, node) in schema["$defs"].as_object().expect("definitions") {
        explained(node, name);
    }
}

#[test]
fn unknown_key_is_fault_whatever_its_value() {
    for value in ["null", "~", "", "5", "1.5", "true", "x", "[]", "[null]", "{}", "{ a: null }", "{ a: [~] }"] {
        for (text, path) in [
            (format!("{MINIMAL}unknown: {value}\n"), "unknown"),
            (format!("{MINIMAL}journal: {{ unknown: {value} }}\n"), "journal.unknown"),
            (format!("{MINIMAL}hub: {{ private_gaps: {{ unknown: {value} }} }}\n"), "hub.private_gaps.unknown"),
            (format!("{MINIMAL}    unknown: {value}\n"), "accounts[0].unknown"),
            (
                format!("accounts: [{{ name: a, bearer: {{ env: X, unknown: {value} }} }}]"),
                "accounts[0].bearer.unknown",
            ),
        ] {
            check(yaml(&text), &[(path, "unknown key; known keys: ")]);
        }
    }
    let known = yaml(&format!("{MINIMAL}journal: {{ durability: ~ }}\nhub:\n  private_gaps:\n"));
    assert_eq!(known, yaml(MINIMAL), "a known key without a value stands for its default");
}

/// Returns the names of all properties of a schema.
fn keys(node: &Value) -> Vec<String> {
    let Some(members) = node.as_object() else { return Vec::new() };
    let own = node.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.clone());
    own.chain(members.values().flat_map(keys)).collect()
}
