//! `probe`: verifies once that a gateway is ready and serves a subscription, for health checks and `helm test`.

use std::time::Duration;

use anyhow::Context;
use powerstream_consumer::proto::subscribe_response::Frame;
use powerstream_consumer::{Consumer, Content, CredentialFiles, OptionError, connect, endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::consumer_error::{describe, exit_of};
use super::exit::Exit;
use super::terminal::{print, print_status};
use crate::clock::{Clock, Elapsed};
use crate::escape;

/// Flags of `probe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the gateway; with https:// it is reached over TLS.
    #[arg(long, default_value = "http://127.0.0.1:50051")]
    addr: String,
    /// File with the bearer token.
    #[arg(long, value_name = "PATH")]
    bearer_file: Option<std::path::PathBuf>,
    /// Certificate authorities of the gateway in PEM; without it, those of the system.
    #[arg(long, value_name = "PATH")]
    ca_file: Option<std::path::PathBuf>,
    /// Client certificate in PEM.
    #[arg(long, value_name = "PATH", requires = "key_file")]
    cert_file: Option<std::path::PathBuf>,
    /// Key of the client certificate in PEM.
    #[arg(long, value_name = "PATH", requires = "cert_file")]
    key_file: Option<std::path::PathBuf>,
    /// Account to subscribe to. Optional if the gateway has one account, or a default account.
    #[arg(long, default_value = "")]
    account: String,
    /// Name of the consumer in the gateway's logs and metrics.
    #[arg(long, default_value = "probe")]
    consumer: String,
    /// Probe the health only, which needs no bearer token.
    #[arg(long)]
    health_only: bool,
    /// Time until the probe fails.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Result of a probe that did not succeed: exit code and text.
#[derive(Debug, PartialEq, Eq)]
struct ProbeFailure {
    exit: Exit,
    text: String,
}

impl ProbeFailure {
    fn failed(text: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, text: text.into() }
    }
}

/// Probes once and prints the result.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let exit = match runtime.block_on(probe(args, &Clock::system())) {
        Ok(text) => {
            print(&format!("{text}\n"));
            Exit::Done
        }
        Err(failure) => {
            print_status(format_args!("error: {}", escape::line(&failure.text)));
            failure.exit
        }
    };
    // A name lookup that outlasted the timeout has a thread of its own.
    runtime.shutdown_background();
    Ok(exit)
}

async fn probe(args: &Args, clock: &Clock) -> Result<String, ProbeFailure> {
    // What is missing if the time is over.
    let mut missing = "no connection".to_owned();
    let all = async {
        let mut text = health(args, &mut missing).await?;
        if !args.health_only {
            text = format!("{text}, {}", subscribe(args, &mut missing).await?);
        }
        Ok(format!("{}: {text}", args.addr))
    };
    let result = clock.timeout(args.timeout, all).await;
    result.unwrap_or_else(|Elapsed| {
        let within = humantime::format_duration(args.timeout);
        Err(ProbeFailure::failed(format!("{}: {missing} within {within}", args.addr)))
    })
}

fn credentials(args: &Args) -> CredentialFiles {
    CredentialFiles {
        bearer: args.bearer_file.clone(),
        ca: args.ca_file.clone(),
        certificate: args.cert_file.clone().zip(args.key_file.clone()),
    }
}

/// Returns an error unless the gateway is ready.
async fn health(args: &Args, missing: &mut String) -> Result<String, ProbeFailure> {
    let failed = |text: String| ProbeFailure::failed(format!("{}: {text}", args.addr));
    let endpoint = endpoint(&args.addr).map_err(|error| ProbeFailure { exit: Exit::Usage, text: error.to_string() })?;
    // The health check needs no credential: only the subscription fails for want of its file.
    let files = CredentialFiles { bearer: None, ..credentials(args) };
    let channel = connect(&endpoint, &files).await.map_err(failed)?;
    *missing = "no answer to the health check".into();
    let request = HealthCheckRequest { service: "ready".into() };
    let response = HealthClient::new(channel).check(request).await;
    let response =
        response.map_err(|status| failed(format!("health check failed: {:?}: {}", status.code(), status.message())))?;
    match response.into_inner().status() {
        ServingStatus::Serving => Ok("ready".into()),
        status => Err(failed(format!("not ready: {}", status.as_str_name()))),
    }
}

/// Returns once a subscription has started, or with an error that would be the same at the next attempt. Other errors are over
/// soon, such as AUTH_UNAVAILABLE just after the start: the consumer tries again.
async fn subscribe(args: &Args, missing: &mut String) -> Result<String, ProbeFailure> {
    *missing = "no subscription".into();
    let builder = Consumer::builder(&args.addr)
        .credentials(credentials(args))
        .allow_plaintext_credentials()
        .account(&args.account)
        .consumer(&args.consumer)
        .violations_max(1);
    let invalid = |error: OptionError| ProbeFailure { exit: Exit::Usage, text: error.to_string() };
    let mut consumer = builder.build().map_err(invalid)?;
    let failure = |exit, text: String| ProbeFailure { exit, text: format!("{}: {text}", args.addr) };
    loop {
        let delivery = consumer.next().await.map_err(|error| failure(exit_of(&error), describe(&error)))?;
        match delivery.content {
            Content::Notice(Frame::SessionStart(start)) => {
                return Ok(format!("subscription of account {} started", start.account));
            }
            Content::Disconnected(end) => *missing = format!("no subscription ({})", end.cause),
            _ => {}
        }
    }
}
