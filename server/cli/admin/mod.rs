//! `admin`: operates a running gateway through AdminService on its admin port.
//!
//! Owns: the flags of each call, tables for people and JSON for programs (`view`, `table`), and the texts of failures
//! (`client`). Does not own: what a call does (`grpc::admin`); it uses gRPC only.
//!
//! All pages of a list are read. Text of clients is escaped in tables.

mod client;
mod view;

use std::time::Duration;

use anyhow::Context;

use self::client::AdminClient;
use self::view::ResponseView;
use super::call::CallError;
use super::connection::CredentialArgs;
use super::exit::Exit;
use super::terminal::{print, print_status};
use super::wire;
use crate::escape;
use crate::proto::{
    DrainRequest, GetConfigRequest, ListAccountsRequest, ListSessionsRequest, ReloadRequest, SessionOrder,
    SetLogFilterRequest, TerminateSessionRequest, UndrainRequest, WhoAmIRequest,
};

/// Flags of `admin`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the admin port; with https:// it is reached over TLS.
    #[arg(long, default_value = "http://127.0.0.1:9600", global = true)]
    addr: String,
    #[command(flatten)]
    credentials: CredentialArgs,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List accounts: upstream state, sessions, gaps, recovery jobs.
    Accounts,
    /// List open sessions.
    Sessions(SessionsArgs),
    /// End a session.
    Terminate(TerminateArgs),
    /// End all sessions and refuse new ones; the process continues.
    Drain {
        /// Interval over which the sessions end, at most 1h.
        #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
        spread: Duration,
    },
    /// End a drain.
    Undrain,
    /// Replace the log filter for a limited time.
    LogFilter {
        /// Log level, with exceptions by module, as in info,powerstream_gateway=debug. Without it, the configured filter
        /// applies again at once.
        filter: Option<String>,
        /// Time after which the configured filter applies again, at most 1h.
        #[arg(long = "for", default_value = "10m", value_parser = humantime::parse_duration)]
        duration: Duration,
    },
    /// Print the effective configuration with the origin of each value.
    Config {
        /// Only keys at or below this path, such as grpc or hub.sessions_max.
        #[arg(default_value = "")]
        path: String,
        /// Only values that are not the default.
        #[arg(long)]
        changed: bool,
    },
    /// Read the configuration again, and print what changed. Exits with 1 if it has faults.
    Reload,
    /// Print the own roles and rights, or those of a principal.
    Whoami {
        /// Name of a principal of the configuration.
        #[arg(default_value = "")]
        principal: String,
    },
}

#[derive(Debug, clap::Args)]
struct SessionsArgs {
    /// Only sessions of this account.
    #[arg(long, default_value = "")]
    account: String,
    /// Only sessions of this principal.
    #[arg(long, default_value = "")]
    principal: String,
    /// Only sessions of this consumer.
    #[arg(long, default_value = "")]
    consumer: String,
    /// Order of the list.
    #[arg(long, value_enum, default_value_t = OrderArg::Age)]
    order_by: OrderArg,
    /// Maximum sessions to list.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
}

/// Order of a list of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OrderArg {
    /// Largest lag first.
    Lag,
    /// Oldest first.
    Age,
    /// Highest rate first.
    Rate,
}

#[derive(Debug, clap::Args)]
struct TerminateArgs {
    /// Id of the session, as `admin sessions` lists it.
    session_id: String,
    /// Reason, for the client and the audit log.
    #[arg(long, default_value = "")]
    reason: String,
    /// Delay before the client reconnects, at most 1h; without it, up to 5s at random.
    #[arg(long, value_parser = humantime::parse_duration)]
    retry_after: Option<Duration>,
    /// Time for which further sessions of this principal and consumer on this account are refused, at most 1h.
    #[arg(long, value_parser = humantime::parse_duration)]
    refuse_for: Option<Duration>,
}

/// Calls the gateway and prints the response.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    match runtime.block_on(call(args)) {
        Ok((view, exit)) => {
            print(&if args.json { format!("{}\n", view.json) } else { view.text() });
            Ok(exit)
        }
        Err(error) => {
            print_status(format_args!("error: {}", escape::line(&error.to_string())));
            Ok(error.exit())
        }
    }
}

async fn call(args: &Args) -> Result<(ResponseView, Exit), CallError> {
    let mut client = AdminClient::connect(&args.addr, &args.credentials.files()).await?;
    let view = match &args.command {
        Command::Accounts => view::accounts(&client.pages(ListAccountsRequest::default(), usize::MAX).await?),
        Command::Sessions(own) => view::sessions(&client.pages(own.request(), own.limit).await?),
        Command::Terminate(own) => view::terminated(&client.terminate_session(own.request()).await?),
        Command::Drain { spread } => {
            view::drained(&client.drain(DrainRequest { spread: Some(wire::duration(*spread)) }).await?)
        }
        Command::Undrain => view::undrained(&client.undrain(UndrainRequest {}).await?),
        Command::LogFilter { filter, duration } => {
            let (filter, duration) = (filter.clone().unwrap_or_default(), Some(wire::duration(*duration)));
            view::log_filter(&client.set_log_filter(SetLogFilterRequest { filter, duration }).await?)
        }
        Command::Config { path, changed } => {
            let request = GetConfigRequest { path: path.clone(), ..GetConfigRequest::default() };
            view::config(&client.pages(request, usize::MAX).await?, *changed)
        }
        Command::Reload => {
            let response = client.reload(ReloadRequest {}).await?;
            let exit = if response.faults.is_empty() { Exit::Done } else { Exit::Failed };
            return Ok((view::reload(&response), exit));
        }
        Command::Whoami { principal } => {
            view::who_am_i(&client.who_am_i(WhoAmIRequest { principal: principal.clone() }).await?)
        }
    };
    Ok((view, Exit::Done))
}

impl SessionsArgs {
    fn request(&self) -> ListSessionsRequest {
        let order = match self.order_by {
            OrderArg::Lag => SessionOrder::Lag,
            OrderArg::Age => SessionOrder::Age,
            OrderArg::Rate => SessionOrder::Rate,
        };
        ListSessionsRequest {
            account: self.account.clone(),
            principal: self.principal.clone(),
            consumer: self.consumer.clone(),
            order_by: order.into(),
            ..ListSessionsRequest::default()
        }
    }
}

impl TerminateArgs {
    fn request(&self) -> TerminateSessionRequest {
        TerminateSessionRequest {
            session_id: self.session_id.clone(),
            reason: self.reason.clone(),
            retry_after: self.retry_after.map(wire::duration),
            refuse_for: self.refuse_for.map(wire::duration),
        }
    }
}
