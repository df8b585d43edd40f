//! `tail`: a command-line consumer, with the library that other programs use too.
//!
//! Owns: flags, printing, the order of printing and committing. Does not own: the client side of the delivery contract, which
//! is `powerstream_consumer`; any part of the gateway, which it uses over gRPC only.
//!
//! Invariants, with tests in `tests.rs`:
//! - A token is stored only after its frame was printed, and the file always contains a whole token: a killed `tail` misses
//!   no event. Events of the last frame may be printed again.
//! - It ends only if the same request would fail again, or at the first violation of the contract. The exit code distinguishes them,
//!   and the token of the violating frame is not stored.
//!
//! `--token-file` is replaced by rename after each frame with a token, and synced at most once a second and at the end.
//! `--json` prints one line per event, with the payload unchanged but for line breaks between its values; `--payload` prints
//! it byte for byte.

mod output;
mod render;
mod start;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgAction, ValueEnum};
use powerstream_consumer::proto::{ResumePolicy, TagFilter};
use powerstream_consumer::{Consumer, ConsumerBuilder, Content, CursorError, CursorFile, Delivery, Start};

pub use render::EventFormat;

use self::output::{Output, WriteResult};
use self::start::parse_start;
use super::connection::CredentialArgs;
use super::consumer_error::{describe, exit_of};
use super::exit::Exit;
use super::terminal::print_status;
use crate::clock::Clock;
use crate::escape;
use crate::task::{ExitPolicy, Shutdown, Signals, TaskGroup};

/// Maximum time that a stop waits for the reader of the output.
const STOP_WAIT_MAX: Duration = Duration::from_secs(2);
/// Interval of fsync: a power failure loses at most this much progress, whose events are printed again.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Columns of a line if the width of the terminal is unknown.
const WIDTH_DEFAULT: usize = 120;

/// Flags of `tail`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the gateway; with https:// it is reached over TLS.
    #[arg(long, default_value = "http://127.0.0.1:50051")]
    addr: String,
    #[command(flatten)]
    credentials: CredentialArgs,
    /// Account to read. Optional if the gateway has one account, or a default account.
    #[arg(long, default_value = "")]
    account: String,
    /// Name of the consumer in the gateway's logs and metrics.
    #[arg(long, default_value = "tail")]
    consumer: String,
    /// Only events with at least one of these tags, separated by commas. A trailing * makes a prefix, a trailing \* is a literal *.
    #[arg(long, value_delimiter = ',', value_name = "TAG")]
    any_of: Vec<String>,
    /// Like --any-of, for one tag, which may contain commas; repeatable.
    #[arg(long, value_name = "TAG")]
    any_of_tag: Vec<String>,
    /// Only events that have each of these tags.
    #[arg(long, value_delimiter = ',', value_name = "TAG")]
    all_of: Vec<String>,
    /// Like --all-of, for one tag, which may contain commas; repeatable.
    #[arg(long, value_name = "TAG")]
    all_of_tag: Vec<String>,
    /// Only events with none of these tags.
    #[arg(long, value_delimiter = ',', value_name = "TAG")]
    none_of: Vec<String>,
    /// Like --none-of, for one tag, which may contain commas; repeatable.
    #[arg(long, value_name = "TAG")]
    none_of_tag: Vec<String>,
    /// Only events that matched one of these rules: an alternative to --any-of.
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    rule_ids: Vec<u64>,
    /// Start position: latest, earliest, token:TOKEN, a time (RFC 3339), or a lookback such as 10m.
    #[arg(long, default_value = "latest", value_name = "START", value_parser = parse_start)]
    start: Start,
    /// File of the resume token. If it exists, its token replaces --start.
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// Behavior if the position is too old.
    #[arg(long, value_enum, default_value_t = ResumePolicyArg::Fail)]
    resume_policy: ResumePolicyArg,
    /// Print one JSON object per event.
    #[arg(long, conflicts_with = "payload")]
    json: bool,
    /// Print only the payloads, as X sent them.
    #[arg(long)]
    payload: bool,
    /// Exit after this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Columns of a line of the default output.
    #[arg(long, env = "COLUMNS", hide_env_values = true, value_name = "N")]
    width: Option<usize>,
    /// Print only errors on stderr.
    #[arg(long, short, action = ArgAction::SetTrue)]
    quiet: bool,
}

/// Behavior if the position is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ResumePolicyArg {
    /// Exit with code 5.
    Fail,
    /// Start at the oldest record and report the missing interval.
    Earliest,
    /// Start at the tip and report the missing interval.
    Latest,
}

/// Subscribes and prints until a signal.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(tail(args))
}

async fn tail(args: Args) -> anyhow::Result<Exit> {
    let (clock, tasks) = (Clock::system(), TaskGroup::new());
    let mut builder = builder(&args);
    if let Some(path) = &args.token_file {
        match CursorFile::open(path) {
            Ok(file) => builder = builder.cursor_file(file.with_sync_interval(SYNC_INTERVAL)),
            Err(error @ CursorError::Malformed(_)) => return Ok(failed(&error, Exit::Position)),
            Err(error) => return Ok(failed(&error, Exit::Failed)),
        }
    }
    let consumer = match builder.build() {
        Ok(consumer) => consumer,
        Err(error) => return Ok(failed(&error, Exit::Usage)),
    };
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let stop = tasks.shutdown().clone();
    tasks.spawn("signals", ExitPolicy::Continue, async move {
        signals.next().await;
        stop.cancel();
    });
    let output = Output::start(&tasks, std::io::stdout());
    let printer = Printer { format: format(&args), left: args.count, quiet: args.quiet, status: std::io::stderr() };
    drive(consumer, printer, &output, tasks.shutdown(), &clock).await
}

fn failed(error: &dyn std::error::Error, exit: Exit) -> Exit {
    print_status(format_args!("error: {error}"));
    exit
}

fn filter(args: &Args) -> TagFilter {
    TagFilter {
        any_of: [&*args.any_of, &args.any_of_tag].concat(),
        all_of: [&*args.all_of, &args.all_of_tag].concat(),
        none_of: [&*args.none_of, &args.none_of_tag].concat(),
        rule_ids: args.rule_ids.clone(),
    }
}

fn builder(args: &Args) -> ConsumerBuilder {
    let builder = Consumer::builder(&args.addr)
        .credentials(args.credentials.files())
        .allow_plaintext_credentials()
        .account(&args.account)
        .consumer(&args.consumer)
        .filter(filter(args))
        .start(args.start.clone())
        .resume_policy(match args.resume_policy {
            ResumePolicyArg::Fail => ResumePolicy::Fail,
            ResumePolicyArg::Earliest => ResumePolicy::Earliest,
            ResumePolicyArg::Latest => ResumePolicy::Latest,
        })
        // A violation is what a person at a terminal must see.
        .violations_max(1);
    // A token covers a whole frame: only frames of one event let --count end between any two events.
    if args.count.is_some() { builder.batch_events_max(1) } else { builder }
}

fn format(args: &Args) -> EventFormat {
    let people = if std::io::stdout().is_terminal() { WIDTH_DEFAULT } else { usize::MAX };
    match (args.json, args.payload) {
        (true, _) => EventFormat::Json,
        (_, true) => EventFormat::Payload,
        _ => EventFormat::Human { width: args.width.unwrap_or(people) },
    }
}

/// Formats deliveries.
struct Printer<W> {
    format: EventFormat,
    /// Events still to print; `None` = unlimited.
    left: Option<u64>,
    quiet: bool,
    /// Destination of status messages.
    status: W,
}

impl<W: Write> Printer<W> {
    /// Returns the text of a delivery, and whether it is all of it. Prints status messages.
    fn print(&mut self, delivery: &Delivery) -> (Vec<u8>, bool) {
        let mut text = Vec::new();
        let Content::Events(batch) = &delivery.content else {
            delivery.describe().iter().for_each(|line| self.print_status(line));
            return (text, true);
        };
        let fit = self.left.map_or(batch.events.len(), |left| batch.events.len().min(left as usize));
        for event in &batch.events[..fit] {
            self.format.event(event, &mut text);
        }
        self.left = self.left.map(|left| left - fit as u64);
        (text, fit == batch.events.len())
    }

    fn print_status(&mut self, line: &str) {
        if !self.quiet {
            writeln!(self.status, "{line}").ok();
        }
    }
}

/// Prints the deliveries of the consumer until a stop, the count, or an error. A delivery is committed once it was printed.
async fn drive<W: Write>(
    mut consumer: Consumer,
    mut printer: Printer<W>,
    output: &Output,
    stop: &Shutdown,
    clock: &Clock,
) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    while printer.left != Some(0) {
        let next = tokio::select! {
            () = stop.cancelled() => break,
            next = consumer.next() => next,
        };
        let delivery = match next {
            Ok(delivery) => delivery,
            Err(error) => {
                exit = exit_of(&error);
                writeln!(printer.status, "error: {}", escape::line(&describe(&error))).ok();
                break;
            }
        };
        let (text, is_whole) = printer.print(&delivery);
        let mut writing = std::pin::pin!(output.write(text));
        let written = tokio::select! {
            written = &mut writing => written,
            () = stop.cancelled() => match clock.timeout(STOP_WAIT_MAX, writing).await {
                Ok(written) => written,
                Err(_) => break,
            },
        };
        // Text that was not read has not been handled: its token is not stored.
        if written? == WriteResult::Closed {
            break;
        }
        if is_whole {
            consumer.commit(&delivery)?;
        }
    }
    consumer.flush()?;
    Ok(exit)
}
