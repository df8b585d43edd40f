//! `serve` and `check`: runs the gateway, or validates a configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::exit::Exit;
use super::terminal::{print, print_status};
use crate::access::{Access, OpenAccess};
use crate::app::{App, ConfigSource, LIVE_KEYS, StartOptions};
use crate::config::{self, AccountSettings, LoadedConfig, Settings};
use crate::hub::entry::EVENT_BYTES_MAX;
use crate::hub::token::Keyring;
use crate::journal::{self, Backend, SystemDisk};
use crate::secret::{self, Secret};
use crate::task::{Signal, Signals};
use crate::tls::TlsProblem;
use crate::{grpc, http, telemetry, tls, xapi};

/// Source of the configuration.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// Configuration file, YAML or TOML; see docs/config.example.yaml.
    #[arg(long, short, value_name = "FILE", env = "POWERSTREAM_GATEWAY_CONFIG")]
    config: Option<PathBuf>,
    /// Override a setting of file and environment, such as journal.durability=sync; repeatable.
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = pair)]
    overrides: Vec<(String, String)>,
}

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    source: ConfigArgs,
    /// Exit with 1 if any account cannot be opened, instead of serving the others.
    #[arg(long)]
    strict: bool,
}

/// Flags of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    source: ConfigArgs,
    /// Print the JSON Schema of the configuration instead.
    #[arg(long)]
    schema: bool,
    /// Print an example with every key and its default instead.
    #[arg(long, conflicts_with = "schema")]
    example: bool,
    /// Print the keys that take effect without a restart instead.
    #[arg(long, conflicts_with_all = ["schema", "example"])]
    live_keys: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("write PATH=VALUE, as in journal.durability=sync")?;
    Ok((path.trim().into(), value.trim().into()))
}

impl ConfigArgs {
    /// Returns the settings; or prints the errors and returns an exit code.
    fn load(&self) -> Result<LoadedConfig, Exit> {
        config::load_layers(self.config.as_deref(), &self.overrides, config::environment()).map_err(|faults| {
            print_status(format_args!("{faults}"));
            Exit::Usage
        })
    }

    /// Returns how the same layers are read again, and the file.
    fn again(&self) -> (ConfigSource, Option<PathBuf>) {
        let (file, overrides) = (self.config.clone(), self.overrides.clone());
        let read = {
            let file = file.clone();
            move || config::load_layers(file.as_deref(), &overrides, config::environment())
        };
        (Arc::new(read), file)
    }
}

/// Validates the configuration and prints it.
pub fn check(args: &CheckArgs) -> anyhow::Result<Exit> {
    if args.schema {
        print(&format!("{:#}\n", config::schema()));
        return Ok(Exit::Done);
    }
    if args.example {
        print(&config::example());
        return Ok(Exit::Done);
    }
    if args.live_keys {
        LIVE_KEYS.iter().for_each(|key| print(&format!("{key}\n")));
        return Ok(Exit::Done);
    }
    let settings = match args.source.load() {
        Ok(loaded) => loaded.settings,
        Err(exit) => return Ok(exit),
    };
    print(&settings.render());
    if let Err(faults) = Access::load(&settings.access()) {
        faults.iter().for_each(|fault| print_status(format_args!("{fault}")));
        return Ok(Exit::Usage);
    }
    if let Some(fault) = shared_bearer(&settings) {
        print_status(format_args!("{fault}"));
        return Ok(Exit::Usage);
    }
    if let Some(fault) =
        client_fault(&settings).or_else(|| disk_fault(&settings)).or_else(|| tls_fault(&settings, |_| true))
    {
        print_status(format_args!("{fault}"));
        return Ok(Exit::Usage);
    }
    for warning in exposures(&settings).into_iter().chain(undeliverable(&settings)).chain(unauthenticated(&settings)) {
        print_status(format_args!("warning: {warning}"));
    }
    for account in &settings.accounts {
        if let Err(error) = account.bearer.read() {
            print_status(format_args!("warning: account {}: {error}", account.name));
        }
    }
    if let Err(error) = Keyring::load(&settings.token_key_files) {
        print_status(format_args!("warning: {:#}", anyhow::Error::from(error)));
    }
    Ok(Exit::Done)
}

/// The fault of two accounts with one bearer at one URL, as far as bearers can be read: X would count them as one account,
/// and each would push the other's connection out.
fn shared_bearer(settings: &Settings) -> Option<String> {
    let mut earlier: Vec<(usize, &AccountSettings, Secret)> = Vec::new();
    for (n, account) in settings.accounts.iter().enumerate() {
        let Ok(bearer) = account.bearer.read() else { continue };
        let shares = |own: &AccountSettings| own.urls().any(|url| account.urls().any(|other| other == url));
        if let Some((before, ..)) = earlier.iter().find(|(_, own, known)| *known == bearer && shares(own)) {
            let text = "has the same token in it, for the same URL: X would count both as one account";
            return Some(format!("accounts[{n}].bearer: accounts[{before}].bearer {text}"));
        }
        earlier.push((n, account, bearer));
    }
    None
}

/// The fault of settings with which `serve` would not start: a CA file that cannot be read.
fn client_fault(settings: &Settings) -> Option<String> {
    let client = xapi::Client::new(&settings.upstream.client_options(), &settings.clock.clock());
    client.err().map(|error| format!("upstream: {error}"))
}

/// The fault of a headroom that is larger than the disk of the logs.
fn disk_fault(settings: &Settings) -> Option<String> {
    let journal = &settings.journal;
    let dir =
        settings.data_dir.ancestors().find(|dir| dir.is_dir()).filter(|_| journal.backend == Backend::Embedded)?;
    let checked = journal::check_headroom(journal.disk_headroom_bytes_min, dir, &SystemDisk);
    checked.err().map(|error| format!("journal.disk_headroom_bytes_min: {error}"))
}

/// The files of the ports' certificates that cannot be used, for one of these reasons.
fn tls_fault(settings: &Settings, is_fault: impl Fn(&TlsProblem) -> bool) -> Option<String> {
    let clock = settings.clock.clock();
    let ports = [(grpc::TLS_PORT, &settings.grpc.tls), (http::TLS_PORT, &settings.admin.tls)];
    let errors = ports.into_iter().filter_map(|(port, config)| tls::check(port, config, &clock).err());
    let errors = errors.flat_map(|errors| errors.0).filter(|error| is_fault(&error.problem));
    let texts: Vec<_> = errors.map(|error| error.to_string()).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// The fault of settings with which `serve` does not start. It starts with an expired certificate, because the log does not
/// depend on it.
fn start_fault(settings: &Settings) -> Option<String> {
    let shared = shared_bearer(settings).or_else(|| client_fault(settings));
    shared.or_else(|| tls_fault(settings, |problem| !problem.is_of_time()))
}

/// The secret files that others than their owner may read or change.
fn exposures(settings: &Settings) -> Vec<String> {
    let bearers = settings.accounts.iter().filter_map(|account| match &account.bearer {
        secret::SecretSource::File(path) => Some(path),
        secret::SecretSource::Environment(_) => None,
    });
    let keys = [&settings.grpc.tls, &settings.admin.tls].into_iter().filter_map(|tls| tls.key_file.as_ref());
    let files = bearers.chain(&settings.token_key_files).chain(&settings.auth.token_files).chain(keys);
    files.filter_map(|path| Some(format!("{} {}", path.display(), secret::exposure(path)?))).collect()
}

/// A port that every client may read.
fn unauthenticated(settings: &Settings) -> Option<String> {
    let is_open = settings.access().open == OpenAccess::Read && !settings.has_access_rules();
    is_open.then(|| {
        format!(
            "grpc.allow_unauthenticated: every client that reaches {} can read all posts; configure credentials in `auth`",
            settings.grpc.address
        )
    })
}

/// A bound of messages from X beyond what a message to a subscriber has.
fn undeliverable(settings: &Settings) -> Option<String> {
    let bytes = settings.upstream.message_bytes_max;
    (bytes > EVENT_BYTES_MAX).then(|| {
        format!(
            "upstream.message_bytes_max is {bytes}, but an event has at most {EVENT_BYTES_MAX} bytes: longer posts are \
             skipped and counted as oversized"
        )
    })
}

/// Runs the gateway until a signal.
pub fn serve(args: &ServeArgs) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let exit = runtime.block_on(async {
        // First, so that a signal is handled at any point of the start.
        let signals = Signals::listen_as_server().context("cannot listen to signals")?;
        match args.source.load() {
            Ok(LoadedConfig { settings, origins }) => {
                let source = Some(args.source.again());
                let options =
                    StartOptions { strict: args.strict, source, origins: Some(origins), ..StartOptions::default() };
                run(settings, options, signals).await
            }
            Err(exit) => Ok(exit),
        }
    });
    // Tasks that still run after the deadline are abandoned.
    runtime.shutdown_timeout(Duration::from_millis(200));
    exit
}

async fn run(settings: Settings, options: StartOptions, mut signals: Signals) -> anyhow::Result<Exit> {
    let guard = telemetry::init(&settings.telemetry)?;
    match telemetry::process::raise_open_files_limit() {
        Ok((before, after)) => tracing::info!(before, after, "open files allowed"),
        Err(error) => tracing::warn!(%error, "failed to raise open files limit"),
    }
    if let Some(fault) = start_fault(&settings) {
        print_status(format_args!("{fault}"));
        return Ok(Exit::Usage);
    }
    let app = tokio::select! {
        biased;
        signal = signals.next_stop() => {
            // No session exists yet, and the files are as after a kill, from which a start recovers.
            tracing::info!(?signal, "stopped during start");
            return Ok(Exit::Done);
        }
        started = App::start_with(settings, options) => started?,
    };
    let failed = app.failed();
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => app.reload(),
                signal => break tracing::info!(?signal, "stopping on signal"),
            },
            () = failed.cancelled() => break,
        }
    }
    let stopped = tokio::select! {
        biased;
        stopped = app.stop() => stopped,
        signal = signals.next_stop() => {
            tracing::warn!(?signal, "second signal during shutdown, stopping at once");
            return Ok(Exit::Failed);
        }
    };
    // Blocks during the export, which itself runs on the runtime.
    tokio::task::spawn_blocking(move || guard.shutdown()).await.context("exporting spans panicked")?;
    stopped.map(|()| Exit::Done).map_err(anyhow::Error::msg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::pki::Authority;

    /// What `serve` needs, `check` tries.
    #[test]
    fn unreadable_ca_file_is_fault() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ca.pem");
        let mut settings = Settings::default();
        assert_eq!(client_fault(&settings), None);
        settings.upstream.ca_file = Some(path.clone());
        assert!(client_fault(&settings).is_some_and(|fault| fault.contains("ca.pem")), "it is not there");
        std::fs::write(&path, "no certificate").expect("the directory is ours");
        assert!(client_fault(&settings).is_some(), "no certificate is in it");
    }

    /// `check` reports all faults of the certificate files, `serve` starts with an expired certificate.
    #[test]
    fn unusable_certificate_file_is_fault() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings = Settings::default();
        assert_eq!((tls_fault(&settings, |_| true), start_fault(&settings)), (None, None));
        let authority = Authority::new();
        let identity = authority.issue(&["localhost"], 2020..2021);
        for (name, content) in [("cert", identity.certificate), ("key", identity.key)] {
            std::fs::write(dir.path().join(name), content).expect("the directory is ours");
        }
        for tls in [&mut settings.grpc.tls, &mut settings.admin.tls] {
            (tls.cert_file, tls.key_file) = (Some(dir.path().join("cert")), Some(dir.path().join("key")));
        }
        let fault = tls_fault(&settings, |_| true).expect("it has expired");
        assert!(fault.contains("grpc.tls.cert_file: ") && fault.contains("\nadmin.tls.cert_file: "), "{fault}");
        assert_eq!(start_fault(&settings), None);
        std::fs::write(dir.path().join("key"), "").expect("the directory is ours");
        assert!(start_fault(&settings).is_some_and(|fault| fault.contains("grpc.tls.key_file: ")));
    }

    /// It left nothing for the journal: connected, and no post was ever taken.
    #[test]
    fn headroom_beyond_disk_is_fault() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings = Settings { data_dir: dir.path().join("data"), ..Settings::default() };
        assert_eq!(disk_fault(&settings), None);
        settings.journal.disk_headroom_bytes_min = u64::MAX;
        let fault = disk_fault(&settings).expect("no disk is as large");
        assert!(fault.starts_with("journal.disk_headroom_bytes_min: "), "{fault}");
        settings.journal.backend = Backend::Memory;
        assert_eq!(disk_fault(&settings), None, "nothing is written");
    }
}
