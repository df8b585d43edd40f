//! `tail`: a command-line consumer, and the reference for other consumers.
//!
//! Owns: the client side of the delivery contract (reconnect with the last token, by the reason of the disconnect; the watchdog
//! of three heartbeats; validation of the gateway's event count), printing, and storing the token. Does not own: any part of
//! the gateway; it uses gRPC only.
//!
//! [`Consumer`] is the core, without files and terminals, for `demo` and tests: `next()` returns a frame or a disconnect,
//! `token()` the position to resume from. The other modules print.
//!
//! Invariants, with tests in `tests.rs`:
//! - A token is stored only after its frame was printed, and the file always contains a whole token: a killed `tail` misses
//!   no event. Events of the last frame may be printed again.
//! - After a disconnect it resumes with the last token, never earlier than the gateway requests, never in a tight loop.
//! - It ends only if the same request would fail again, or if the gateway violated the contract. The exit code says which, and
//!   the token of the violating frame is not stored.
//!
//! `--token-file` is replaced by rename after each frame with a token, and synced at most once a second and at the end.
//! `--json` prints one line per event, with the payload unchanged but for line breaks between its values; `--payload` prints
//! it byte for byte.

mod consumer;
mod credentials;
mod describe;
mod output;
mod render;
mod retry_policy;
mod start;
#[cfg(test)]
mod tests;
mod token_file;
mod validator;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgAction, ValueEnum};

pub use consumer::{AddressError, Consumer, ConsumerError, ConsumerEvent, ConsumerOptions, endpoint};
pub use credentials::CredentialFiles;
pub(super) use credentials::innermost;
pub use describe::of as in_words;
pub use render::Format;
pub use retry_policy::FatalStatus;
pub use start::StartArg;
pub use validator::ContractViolation;

use self::output::{Output, WriteResult};
use self::token_file::TokenFile;
use super::connection::CredentialArgs;
use super::exit::Exit;
use super::terminal::print_status;
use crate::clock::Clock;
use crate::escape;
use crate::proto::subscribe_response::Frame;
use crate::proto::{ResumePolicy, SubscribeResponse, TagFilter};
use crate::task::{ExitPolicy, Shutdown, Signals, TaskGroup};

/// Maximum time that a stop waits for the reader of the output.
const STOP_WAIT_MAX: Duration = Duration::from_secs(2);
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
    #[arg(long, default_value = "latest", value_name = "START")]
    start: StartArg,
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
    let mut consumer = match Consumer::new(consumer_options(&args), clock.clone()) {
        Ok(consumer) => consumer,
        Err(error) => {
            print_status(format_args!("error: {error}"));
            return Ok(Exit::Usage);
        }
    };
    let file = args.token_file.as_deref().map(|path| TokenFile::open(path, clock.clone())).transpose()?;
    if let Some(token) = file.as_ref().and_then(TokenFile::token) {
        consumer.resume(token.to_owned());
    }
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let stop = tasks.shutdown().clone();
    tasks.spawn("signals", ExitPolicy::Continue, async move {
        signals.next().await;
        stop.cancel();
    });
    let output = Output::start(&tasks, std::io::stdout(), file);
    let printer = Printer { format: format(&args), left: args.count, quiet: args.quiet, words: std::io::stderr() };
    drive(consumer, printer, &output, tasks.shutdown(), &clock).await
}

fn consumer_options(args: &Args) -> ConsumerOptions {
    ConsumerOptions {
        credentials: args.credentials.files(),
        account: args.account.clone(),
        consumer: args.consumer.clone(),
        filter: TagFilter {
            any_of: [&*args.any_of, &args.any_of_tag].concat(),
            all_of: [&*args.all_of, &args.all_of_tag].concat(),
            none_of: [&*args.none_of, &args.none_of_tag].concat(),
            rule_ids: args.rule_ids.clone(),
        },
        start: args.start.clone(),
        resume_policy: match args.resume_policy {
            ResumePolicyArg::Fail => ResumePolicy::Fail,
            ResumePolicyArg::Earliest => ResumePolicy::Earliest,
            ResumePolicyArg::Latest => ResumePolicy::Latest,
        },
        // A token covers a whole frame: only frames of one event let --count end between any two events.
        batch_events_max: args.count.map_or(0, |_| 1),
        ..ConsumerOptions::new(&args.addr)
    }
}

fn format(args: &Args) -> Format {
    let people = if std::io::stdout().is_terminal() { WIDTH_DEFAULT } else { usize::MAX };
    match (args.json, args.payload) {
        (true, _) => Format::Json,
        (_, true) => Format::Payload,
        _ => Format::Human { width: args.width.unwrap_or(people) },
    }
}

/// Formats frames.
struct Printer<W> {
    format: Format,
    /// Events still to print; `None` = unlimited.
    left: Option<u64>,
    quiet: bool,
    /// Destination of status messages.
    words: W,
}

impl<W: Write> Printer<W> {
    /// Returns the text of a frame, and its token if the whole frame was printed.
    fn print(&mut self, response: SubscribeResponse) -> (Vec<u8>, Option<String>) {
        let mut text = Vec::new();
        let mut whole = true;
        match &response.frame {
            Some(Frame::EventBatch(batch)) => {
                let fit = self.left.map_or(batch.events.len(), |left| batch.events.len().min(left as usize));
                for event in &batch.events[..fit] {
                    self.format.event(event, &mut text);
                }
                whole = fit == batch.events.len();
                self.left = self.left.map(|left| left - fit as u64);
            }
            Some(frame) => {
                if let Some(words) = describe::of(frame) {
                    self.print_status(&words);
                }
            }
            None => {}
        }
        (text, Some(response.resume_token).filter(|token| whole && !token.is_empty()))
    }

    fn print_status(&mut self, words: &str) {
        if !self.quiet {
            writeln!(self.words, "{words}").ok();
        }
    }
}

/// Prints the frames of the consumer until a stop, the count, or an error.
async fn drive<W: Write>(
    mut consumer: Consumer,
    mut printer: Printer<W>,
    output: &Output,
    stop: &Shutdown,
    clock: &Clock,
) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    while printer.left != Some(0) {
        let step = tokio::select! {
            () = stop.cancelled() => break,
            step = consumer.next() => step,
        };
        match step {
            Ok(ConsumerEvent::Frame(response)) => {
                let (text, token) = printer.print(*response);
                let mut writing = std::pin::pin!(output.write(text, token));
                let written = tokio::select! {
                    written = &mut writing => written,
                    () = stop.cancelled() => match clock.timeout(STOP_WAIT_MAX, writing).await {
                        Ok(written) => written,
                        Err(_) => return Ok(Exit::Done),
                    },
                };
                if written? == WriteResult::Closed {
                    break;
                }
            }
            Ok(ConsumerEvent::Disconnected { cause, delay }) => {
                let delay = humantime::format_duration(Duration::from_millis(delay.as_millis() as u64));
                printer.print_status(&format!("disconnected: {}; reconnecting in {delay}", escape::line(&cause)));
            }
            Err(end) => {
                exit = ended(&end);
                writeln!(printer.words, "error: {}", escape::line(&end.to_string())).ok();
                break;
            }
        }
    }
    if let Ok(finished) = clock.timeout(STOP_WAIT_MAX, output.finish()).await {
        finished?;
    }
    Ok(exit)
}

fn ended(end: &ConsumerError) -> Exit {
    match end {
        ConsumerError::Refused(refusal) => refusal.exit,
        ConsumerError::Unsound(_) => Exit::ContractViolated,
    }
}
