//! `tail`: a consumer as a person would want it, and the reference for those who write their own.
//!
//! Owns: the client's side of the delivery contract: coming back after every cut with the last token, by the reason
//! that the gateway gave; the watchdog of three heartbeats; the check of the gateway's count against its own; printing,
//! and keeping the token. Does not own: anything of the gateway; it speaks to one only over gRPC.
//!
//! [`Consumer`] is the core, without files and terminals, for `demo` and for tests: `next()` gives a frame, or tells of
//! a cut; `token()` is where to go on. The rest of the room prints.
//!
//! Invariants, with the tests in `tests.rs` that hold them:
//! - A token is kept only after its frame was printed, and the file always holds a whole one: a killed `tail` misses
//!   nothing. What it had printed of the last frame may be printed again.
//! - After a cut it comes back with the last token, never sooner than the gateway asks, never in a tight loop.
//! - It gives up only where coming back would get the same answer, or where the gateway broke a promise; then it ends
//!   with an exit code that says which, and the token of the frame that showed it is not kept.
//!
//! `--token-file` is replaced by rename after each frame that carries a token, and forced to the disk at most once a
//! second and at the end. `--json` prints an object on one line per event, with the payload in it as it came but for line breaks
//! between its values; `--payload` prints it byte for byte.

mod consumer;
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

pub use consumer::{AddressError, Consumer, ConsumerError, ConsumerEvent, ConsumerOptions};
pub use describe::of as in_words;
pub use render::Format;
pub use retry_policy::FatalStatus;
pub use start::StartArg;
pub use validator::ContractViolation;

use self::output::{Output, WriteResult};
use self::token_file::TokenFile;
use super::exit::Exit;
use super::terminal::print_status;
use crate::clock::Clock;
use crate::escape;
use crate::proto::subscribe_response::Frame;
use crate::proto::{ResumePolicy, SubscribeResponse, TagFilter};
use crate::task::{ExitPolicy, Shutdown, Signals, TaskGroup};

/// How long a stop waits for a reader of our output that has stopped reading.
const STOP_WAIT_MAX: Duration = Duration::from_secs(2);
/// Columns of a line where the terminal's width is not known.
const WIDTH_DEFAULT: usize = 120;

/// Flags of `tail`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the gateway listens.
    #[arg(long, default_value = "http://127.0.0.1:50051")]
    addr: String,
    /// Account to read; may be left out when the gateway has one.
    #[arg(long, default_value = "")]
    account: String,
    /// Name for the gateway's logs and metrics.
    #[arg(long, default_value = "tail")]
    consumer: String,
    /// Posts with a tag of one of these, separated by commas; a trailing * makes a prefix, a trailing \* is a literal *.
    #[arg(long, value_delimiter = ',', value_name = "TAG")]
    tags: Vec<String>,
    /// The same as --tags for one tag, which may have commas; may be repeated.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Posts with a tag for each of these.
    #[arg(long, value_delimiter = ',', value_name = "TAG")]
    all_of: Vec<String>,
    /// The same as --all-of for one tag, which may have commas; may be repeated.
    #[arg(long, value_name = "TAG")]
    all_of_tag: Vec<String>,
    /// Posts without any tag of these.
    #[arg(long, value_delimiter = ',', value_name = "TAG")]
    none_of: Vec<String>,
    /// The same as --none-of for one tag, which may have commas; may be repeated.
    #[arg(long, value_name = "TAG")]
    none_of_tag: Vec<String>,
    /// Posts that one of these rules matched: an alternative to --tags.
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    rule_ids: Vec<u64>,
    /// Where to begin: latest, earliest, token:TOKEN, a time (RFC 3339), or a lookback such as 10m.
    #[arg(long, default_value = "latest", value_name = "START")]
    from: StartArg,
    /// File that keeps the resume token; if it is there, it decides where to begin instead of --from.
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// What to do with a position that is too old.
    #[arg(long, value_enum, default_value_t = ResumePolicyArg::Fail)]
    on_too_old: ResumePolicyArg,
    /// Print a JSON object per event.
    #[arg(long, conflicts_with = "payload")]
    json: bool,
    /// Print the payloads alone, as X sent them.
    #[arg(long)]
    payload: bool,
    /// End after this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Columns of a line for people.
    #[arg(long, env = "COLUMNS", hide_env_values = true, value_name = "N")]
    width: Option<usize>,
    /// Say nothing on stderr but errors.
    #[arg(long, short, action = ArgAction::SetTrue)]
    quiet: bool,
}

/// What to do with a position that is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ResumePolicyArg {
    /// End, with exit code 5.
    Fail,
    /// Begin at the oldest record; what is missing is told.
    Earliest,
    /// Begin at the tip; what is missing is told.
    Latest,
}

/// Subscribes and prints until told to stop.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(tail(args))
}

async fn tail(args: Args) -> anyhow::Result<Exit> {
    let (clock, tasks) = (Clock::system(), TaskGroup::new());
    let mut consumer = match Consumer::new(settings(&args), clock.clone()) {
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

fn settings(args: &Args) -> ConsumerOptions {
    ConsumerOptions {
        account: args.account.clone(),
        consumer: args.consumer.clone(),
        filter: TagFilter {
            any_of: [&*args.tags, &args.tag].concat(),
            all_of: [&*args.all_of, &args.all_of_tag].concat(),
            none_of: [&*args.none_of, &args.none_of_tag].concat(),
            rule_ids: args.rule_ids.clone(),
        },
        start: args.from.clone(),
        on_too_old: match args.on_too_old {
            ResumePolicyArg::Fail => ResumePolicy::Fail,
            ResumePolicyArg::Earliest => ResumePolicy::Earliest,
            ResumePolicyArg::Latest => ResumePolicy::Latest,
        },
        // A token covers a whole frame: only frames of one event let a count end exactly between two.
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

/// Turns frames into text.
struct Printer<W> {
    format: Format,
    /// Events still to print; `None` = no end.
    left: Option<u64>,
    quiet: bool,
    /// Where words go.
    words: W,
}

impl<W: Write> Printer<W> {
    /// What a frame prints, and its token if all of the frame is in it.
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
                    self.say(&words);
                }
            }
            None => {}
        }
        (text, Some(response.resume_token).filter(|token| whole && !token.is_empty()))
    }

    fn say(&mut self, words: &str) {
        if !self.quiet {
            writeln!(self.words, "{words}").ok();
        }
    }
}

/// Prints what the consumer gets until it is stopped, done, or at its end.
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
            Ok(ConsumerEvent::Cut { why, wait }) => {
                let wait = humantime::format_duration(Duration::from_millis(wait.as_millis() as u64));
                printer.say(&format!("{}; coming back in {wait}", escape::line(&why)));
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
