//! `rules calibrate`: compares the evaluator with the rules that X names in posts.
//!
//! Each post of the log names the rules that matched it at X. The same rules are evaluated here; where the two differ, the
//! language is not what this program takes it for. Posts and rules come from the gateway, and X is not involved.

mod tally;

use std::time::Duration;

use powerstream_consumer::proto::Event;
use powerstream_consumer::proto::subscribe_response::Frame;
use powerstream_consumer::{Consumer, ConsumerError, Content, OptionError, Start};

use self::tally::{PreparedRule, Tally};
use super::gateway::{Failure, GatewayArgs, ListedRules};
use super::shown::{OutputFormat, Shown};
use crate::cli::consumer_error::{describe, exit_of};
use crate::cli::exit::Exit;
use crate::cli::terminal::print_status;
use crate::model::{RulesChange, UnixMillis};
use crate::proto::{ListRulesRequest, Rule};

/// Flags of `rules calibrate`.
#[derive(Debug, clap::Args)]
pub struct CalibrateArgs {
    /// How far back posts of the log are compared.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    since: Duration,
    /// Maximum posts to compare.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    posts: u64,
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Compares the evaluator with X.
pub(super) async fn run(args: &CalibrateArgs) -> Result<Shown, Failure> {
    let mut client = args.gateway.connect().await?;
    let ListedRules { rules, .. } = client.list(&ListRulesRequest::default()).await?;
    let known: Vec<PreparedRule> = rules.iter().filter_map(known).collect();
    let skipped = rules.iter().filter(|rule| !rule.rule_id.is_empty()).count() - known.len();
    if skipped > 0 {
        print_status(format_args!("{skipped} rules at X cannot be evaluated and are left out: see `rules import`"));
    }
    if known.is_empty() {
        let text = "the gateway knows no rule at X that can be evaluated; see `rules list`";
        return Err(Failure::Other(Exit::Failed, text.to_owned()));
    }
    let mut tally = Tally::new(known);
    read_posts(args, &mut tally).await?;
    Ok(Shown::new(args.format, &tally.json(), || tally.text()))
}

/// Returns a rule that X has and that the evaluator can read.
fn known(rule: &Rule) -> Option<PreparedRule> {
    let millis = |time: &prost_types::Timestamp| time.seconds.saturating_mul(1_000);
    // A rule that another client added was in effect before the gateway knew of it.
    let since = match &rule.added_time {
        Some(added) => UnixMillis(millis(added)).plus(RulesChange::EFFECT_MAX).0,
        None => millis(rule.first_known_time.as_ref()?),
    };
    let value = if rule.value_at_x.is_empty() { &rule.value } else { &rule.value_at_x };
    let title = if rule.name.is_empty() { rule.rule_id.clone() } else { format!("{}/{}", rule.set, rule.name) };
    PreparedRule::new(rule.rule_id.parse().ok()?, title, value, since)
}

/// Reads posts of the log until its end.
async fn read_posts(args: &CalibrateArgs, tally: &mut Tally) -> Result<(), Failure> {
    let builder = Consumer::builder(&args.gateway.addr)
        .credentials(args.gateway.files())
        .allow_plaintext_credentials()
        .account(&args.gateway.account)
        .consumer("rules-calibrate")
        .start(Start::Lookback(args.since))
        .violations_max(1);
    let invalid = |error: OptionError| Failure::Other(Exit::Usage, error.to_string());
    let failed = |error: ConsumerError| Failure::Other(exit_of(&error), describe(&error));
    let mut consumer = builder.build().map_err(invalid)?;
    loop {
        match consumer.next().await.map_err(failed)?.content {
            Content::Events(batch) => {
                for event in &batch.events {
                    add(event, tally);
                    if tally.posts() >= args.posts {
                        return Ok(());
                    }
                }
            }
            Content::Notice(Frame::CaughtUp(_)) => return Ok(()),
            Content::Disconnected(end) => print_status(format_args!("disconnected: {}", end.cause)),
            _ => {}
        }
    }
}

/// Compares a post. A delta names rules that match now a post that was delivered before, and is left out.
fn add(event: &Event, tally: &mut Tally) {
    if !event.delta {
        let ids: Vec<u64> = event.rules.iter().map(|rule| rule.id).collect();
        tally.add(event.post_id, event.received_time_ms, &ids, event.json.as_bytes());
    }
}
