//! Configurations that are none, or that make no sense: `check` and `serve` refuse them alike, with exit code 2, at once, with
//! the path of what is wrong, and without a value that may be a secret.

use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::command::{gateway, run};
use super::stage::Stage;

/// What may be shown by nothing that is printed.
const SECRET: &str = "hunter2hunter2";
const MINIMAL: &str = "accounts:\n  - name: main\n    bearer: { env: X }\n";

/// A configuration with one account and more.
fn with(more: &str) -> Vec<u8> {
    format!("{MINIMAL}{more}\n").into_bytes()
}

/// A configuration whose account has these keys in place of its own.
fn account(keys: &str) -> Vec<u8> {
    format!("accounts: [{{ {keys} }}]\n").into_bytes()
}

/// Texts of files that are no configuration, and a part of the error message.
fn texts() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let bomb: String =
        (1..9).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(","))).collect();
    let unread = "cannot be read";
    vec![
        ("no file content", Vec::new(), "there is no account"),
        ("a comment", b"# nothing\n".to_vec(), "there is no account"),
        ("no text", (0..=255).collect(), unread),
        ("zeros", vec![0; 100_000], "there is no account"),
        ("no UTF-8", [MINIMAL.as_bytes(), b"data_dir: \xff\xfe\n"].concat(), unread),
        ("2 MB", with(&format!("# {}", "x".repeat(2 << 20))), "longer than 1048576 bytes"),
        ("a list", b"- accounts\n- main\n".to_vec(), ""),
        ("a text", b"accounts\n".to_vec(), ""),
        ("a tab", b"accounts:\n\t- name: main\n".to_vec(), unread),
        ("a quote that does not end", with("data_dir: \"x"), unread),
        ("a key twice", with("data_dir: a\ndata_dir: b"), unread),
        ("nested aliases", [b"a0: &a0 [x]\n".to_vec(), bomb.into_bytes()].concat(), "aliases expanded"),
        ("20,000 levels", with(&format!("journal: {}", "[".repeat(20_000))), unread),
        ("an alias of itself", with("journal: &a [*a]"), "must be a section"),
        ("an object of Python", with("data_dir: !!python/object/apply:os.system ['true']"), "data_dir"),
        ("an unknown key", with("jornal: {}"), "did you mean journal?"),
        ("a section that is a number", with("journal: 7"), "must be a section"),
        ("a section that is a list", with("grpc: [1]"), "must be a section"),
        ("accounts that are a section", b"accounts: { name: main }\n".to_vec(), "must be a list"),
        (
            "1,001 accounts",
            format!("accounts: [{}]", "{ name: a, bearer: { env: X } },".repeat(1_001)).into_bytes(),
            "at most 1000",
        ),
    ]
}

/// Values that are none, or make no sense.
fn values() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let unread = "cannot be read";
    vec![
        (
            "a number of 400 digits",
            with(&format!("journal: {{ segment_bytes_max: {} }}", "9".repeat(400))),
            "journal.segment_bytes_max",
        ),
        ("a number that is none", with("clock: { rate: .nan }"), unread),
        ("an endless number", with("clock: { rate: .inf }"), unread),
        ("2^64 connections", with("grpc: { connections_max: 18446744073709551616 }"), "grpc.connections_max"),
        ("2^63-1 connections", with("grpc: { connections_max: 9223372036854775807 }"), "at most 1000000"),
        ("a send buffer of 2^32", with("grpc: { send_buffer_bytes_max: 4294967296 }"), "at most 67108864"),
        ("minus one session", with("hub: { sessions_max: -1 }"), "hub.sessions_max"),
        ("half a job", with("ingest: { recovery: { jobs_max: 1.5 } }"), "ingest.recovery.jobs_max"),
        ("a batch of no byte", with("upstream: { batch_bytes_max: 0 }"), "at least 1024"),
        ("healthy at once", with("upstream: { healthy_after: 0s }"), "X needs as much"),
        ("no backoff", with("upstream: { http_backoff_step: 0s }"), "upstream.http_backoff_step"),
        ("a duration without a unit", with("shutdown_timeout: 5"), "shutdown_timeout"),
        ("a negative duration", with("shutdown_timeout: -5s"), "shutdown_timeout"),
        (
            "a duration of 10^30 years",
            with("shutdown_timeout: 1000000000000000000000000000000years"),
            "shutdown_timeout",
        ),
        ("all interfaces", with("grpc: { address: '0.0.0.0:1' }"), "allow_unauthenticated: true"),
        ("port 70000", with("grpc: { address: '127.0.0.1:70000' }"), "grpc.address"),
        (
            "one port for both",
            with("grpc: { address: '127.0.0.1:9' }\nadmin: { address: '127.0.0.1:9' }"),
            "admin.address",
        ),
        (
            "a collector with a password",
            with(&format!("telemetry: {{ otlp_endpoint: 'https://a:{SECRET}@c' }}")),
            "telemetry.otlp_endpoint",
        ),
        ("a malformed log filter", with("telemetry: { log_filter: '[{=,' }"), "telemetry.log_filter"),
        ("a key file twice", with("token_key_files: [a, a]"), "named twice"),
        ("1,000 key files", with(&format!("token_key_files: [{}]", "a,".repeat(1_000))), "at most 100"),
    ]
}

/// Secrets in wrong places, and accounts that are none.
fn accounts() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let unread = "cannot be read";
    vec![
        ("a proxy with a password", with(&format!("upstream: {{ proxy: 'http://a:{SECRET}@p' }}")), "no password"),
        ("a secret as a key", with(&format!("{SECRET}: x")), "known keys: "),
        ("a secret as a section", with(&format!("journal: {{ {SECRET}: x }}")), "journal"),
        ("a secret as a bearer", account(&format!("name: main, bearer: {SECRET}")), "accounts[0].bearer"),
        (
            "a secret as a variable",
            account(&format!("name: main, bearer: {{ env: '{SECRET}%3D' }}")),
            "accounts[0].bearer",
        ),
        ("a secret in broken YAML", account(&format!("name: main, bearer: {SECRET}: {{{{")), unread),
        (
            "a URL with a password",
            account(&format!("name: main, bearer: {{ env: X }}, url: 'https://a:{SECRET}@x'")),
            "no user",
        ),
        (
            "a URL with a query",
            account(&format!("name: main, bearer: {{ env: X }}, url: 'https://x/?t={SECRET}'")),
            "query",
        ),
        ("a URL of a file", account("name: main, bearer: { env: X }, url: 'file:///etc/passwd'"), "https URL"),
        ("a plain URL elsewhere", account("name: main, bearer: { env: X }, url: 'http://x.com'"), "https URL"),
        ("a name that climbs", account("name: '../main', bearer: { env: X }"), "accounts[0].name"),
        (
            "a name of 64 characters",
            account(&format!("name: {}, bearer: {{ env: X }}", "a".repeat(64))),
            "accounts[0].name",
        ),
        ("the name ready", account("name: ready, bearer: { env: X }"), "reserved"),
        ("two bearers in one", account("name: main, bearer: { env: X, file: y }"), "exactly one"),
        (
            "nine datacenters",
            account(&format!(
                "name: main, bearer: {{ env: X }}, datacenters: [{}]",
                (0..9).map(|n| format!("{{ name: d{n}, url: 'https://x' }}")).collect::<Vec<_>>().join(",")
            )),
            "at most 8",
        ),
        ("nine connections", account("name: main, bearer: { env: X }, connections: 9"), "at most 8"),
        (
            "a tag of 1,021 bytes",
            account(&format!("name: main, bearer: {{ env: X }}, tags: [{}]", "t".repeat(1_021))),
            "accounts[0].tags[0]",
        ),
        (
            "1,001 tags",
            account(&format!("name: main, bearer: {{ env: X }}, tags: [{}]", "t,".repeat(1_001))),
            "at most 1000",
        ),
        ("a CA file that is not there", with("upstream: { ca_file: /nowhere/ca.pem }"), "failed to load CA file"),
        ("a CA file without a certificate", with("upstream: { ca_file: good.yaml }"), "no certificate"),
        ("a FIFO for a CA file", with("upstream: { ca_file: fifo.yaml }"), "not a regular file"),
        ("/dev/zero for a CA file", with("upstream: { ca_file: zero.yaml }"), "not a regular file"),
    ]
}

/// Arguments, and a part of the error message.
fn command_lines() -> Vec<(&'static str, Vec<&'static str>, &'static str)> {
    let set = |pair| vec!["check", "--config", "good.yaml", "--set", pair];
    vec![
        ("no command", vec![], "Usage"),
        ("an unknown command", vec!["server"], "serve"),
        ("an unknown flag", vec!["serve", "--token", SECRET], "--token"),
        ("a file that is not there", vec!["check", "--config", "nothing.yaml"], "cannot be read"),
        ("a file without an ending", vec!["check", "--config", "good"], "must end in"),
        ("a directory", vec!["check", "--config", "dir.yaml"], "not a regular file"),
        ("a FIFO", vec!["check", "--config", "fifo.yaml"], "not a regular file"),
        ("/dev/zero", vec!["check", "--config", "zero.yaml"], "not a regular file"),
        ("/dev/zero to serve", vec!["serve", "--config", "zero.yaml"], "not a regular file"),
        ("TOML that is none", vec!["check", "--config", "bad.toml"], "cannot be read"),
        ("--set without a value", set("journal.durability"), "PATH=VALUE"),
        ("--set of an unknown key", set("jornal.durability=os"), "jornal"),
        ("--set of a section", set("journal=os"), "section"),
        ("--set of a list that is none", set("token_key_files=a"), "list in JSON"),
        ("--set of a secret", set("hunter2hunter2=x"), ""),
        ("schema and example", vec!["check", "--schema", "--example"], "cannot be used with"),
        ("a clock that stands still", vec!["simulate", "--clock-rate", "0"], "from 0.001 to 10000"),
        ("a clock that runs backwards", vec!["simulate", "--clock-rate=-5"], "from 0.001 to 10000"),
        ("a clock that is none", vec!["simulate", "--clock-rate", "NaN"], "from 0.001 to 10000"),
    ]
}

fn prepare(dir: &Path) {
    let path = |name: &str| dir.join(name);
    std::fs::write(path("good.yaml"), MINIMAL).expect("the directory is ours");
    std::fs::write(path("good"), MINIMAL).expect("the directory is ours");
    std::fs::write(path("bad.toml"), format!("data_dir = {SECRET}\n")).expect("the directory is ours");
    std::fs::create_dir(path("dir.yaml")).expect("the directory is ours");
    symlink("/dev/zero", path("zero.yaml")).expect("the directory is ours");
    mknodat(CWD, path("fifo.yaml"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("the directory is ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_configurations_are_refused_at_once() {
    let mut stage = Stage::open(|_| ()).await;
    let dir = stage.env.dir().join("configurations");
    std::fs::create_dir(&dir).expect("the directory is ours");
    prepare(&dir);
    for (name, text, message) in texts().into_iter().chain(values()).chain(accounts()) {
        std::fs::write(dir.join("case.yaml"), text).expect("the directory is ours");
        let attack = async {
            // `serve` refuses what `check` refuses.
            for command in ["check", "serve"] {
                let ended = run(&dir, gateway(&dir, &[command, "--config", "case.yaml"])).await?;
                ended.verify(2, message, &[SECRET]).map_err(|fault| format!("{command}: {fault}"))?;
            }
            Ok(())
        };
        stage.play(name, attack).await;
    }
    for (name, arguments, message) in command_lines() {
        let attack = async { run(&dir, gateway(&dir, &arguments)).await?.verify(2, message, &[SECRET]) };
        stage.play(name, attack).await;
    }
    for (name, variable, value, message) in [
        ("a variable that is no number", "POWERSTREAM_GATEWAY__HUB__SESSIONS_MAX", "many", "a whole number"),
        ("a variable of no key", "POWERSTREAM_GATEWAY__JORNAL__DURABILITY", "os", "jornal"),
        ("a variable of a list", "POWERSTREAM_GATEWAY__ACCOUNTS", "[]", "in the file only"),
        ("a secret in a variable", "POWERSTREAM_GATEWAY__GRPC__ADDRESS", SECRET, "grpc.address"),
        ("a secret as a variable's name", "POWERSTREAM_GATEWAY__hunter2hunter2", "x", ""),
    ] {
        let mut command = gateway(&dir, &["check", "--config", "good.yaml"]);
        command.env(variable, value);
        let attack = async { run(&dir, command).await?.verify(2, message, &[SECRET]) };
        stage.play(name, attack).await;
    }
    stage.end("config", 80).await;
}
