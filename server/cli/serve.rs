//! `serve` and `check`: the gateway with a configuration, and what that configuration means.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::{Exit, print, say};
use crate::app::App;
use crate::config::{self, Settings};
use crate::hub::token::Keyring;
use crate::task::{Signal, Signals};
use crate::telemetry;

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
pub struct Source {
    /// Configuration file, YAML or TOML; see docs/config.example.yaml.
    #[arg(long, short, value_name = "FILE", env = "POWERSTREAM_GATEWAY_CONFIG")]
    config: Option<PathBuf>,
    /// A setting over file and environment, such as journal.durability=sync; may be given again.
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = pair)]
    overrides: Vec<(String, String)>,
}

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    source: Source,
}

/// Flags of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    source: Source,
    /// Print the JSON Schema of the configuration instead.
    #[arg(long)]
    schema: bool,
    /// Print an example with every key and its default instead.
    #[arg(long, conflicts_with = "schema")]
    example: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("write PATH=VALUE, as in journal.durability=sync")?;
    Ok((path.trim().into(), value.trim().into()))
}

impl Source {
    /// The settings, or the faults told and an exit code.
    fn load(&self) -> Result<Settings, Exit> {
        config::load(self.config.as_deref(), &self.overrides, config::environment()).map_err(|faults| {
            say(format_args!("{faults}"));
            Exit::Usage
        })
    }
}

/// Prints what the configuration means.
pub fn check(args: &CheckArgs) -> anyhow::Result<Exit> {
    if args.schema {
        print(&format!("{:#}\n", config::schema()));
        return Ok(Exit::Done);
    }
    if args.example {
        print(&config::example());
        return Ok(Exit::Done);
    }
    let settings = match args.source.load() {
        Ok(settings) => settings,
        Err(exit) => return Ok(exit),
    };
    print(&settings.render());
    for account in &settings.accounts {
        if let Err(error) = account.bearer.read() {
            say(format_args!("warning: account {}: {error}", account.name));
        }
    }
    if let Err(error) = Keyring::load(&settings.token_key_files) {
        say(format_args!("warning: {:#}", anyhow::Error::from(error)));
    }
    Ok(Exit::Done)
}

/// Runs the gateway until it is told to stop.
pub fn serve(args: &ServeArgs) -> anyhow::Result<Exit> {
    let settings = match args.source.load() {
        Ok(settings) => settings,
        Err(exit) => return Ok(exit),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let exit = runtime.block_on(run(settings));
    // What still holds on after the deadline is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(200));
    exit
}

async fn run(settings: Settings) -> anyhow::Result<Exit> {
    let guard = telemetry::init(&settings.telemetry)?;
    match telemetry::process::raise_open_files_limit() {
        Ok((before, after)) => tracing::info!(before, after, "open files allowed"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let app = App::start(settings).await?;
    let failed = app.failed();
    tokio::select! {
        signal = signals.next() => match signal {
            Signal::Terminate => tracing::info!("SIGTERM"),
            Signal::Interrupt => tracing::info!("SIGINT"),
        },
        () = failed.cancelled() => {}
    }
    let stopped = app.stop().await;
    // It blocks while it exports, and the export itself runs on the runtime.
    tokio::task::spawn_blocking(move || guard.shutdown()).await.context("exporting spans panicked")?;
    stopped.map(|()| Exit::Done).map_err(anyhow::Error::msg)
}
