//! `rules test`: posts of the log that a rule matches.

use std::time::Duration;

use powerstream_consumer::proto::Event;
use serde_json::{Value, json};

use super::files::RuleFiles;
use super::gateway::{Failure, GatewayArgs};
use super::output::{self, Located};
use super::shown::{OutputFormat, Shown};
use crate::cli::exit::Exit;
use crate::cli::tail;
use crate::cli::terminal::print_status;
use crate::cli::wire::{time, timestamp};
use crate::clock::Clock;
use crate::model::UnixMillis;
use crate::proto::{RuleSample, TestRuleRequest, TestRuleResponse, TimeInterval};
use crate::query::Severity;
use crate::rules::FileRule;

/// Columns of a sample.
const SAMPLE_COLUMNS: usize = 120;

/// Flags of `rules test`.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// Text of the rule.
    value: String,
    /// How far back posts of the log are evaluated.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    since: Duration,
    /// Maximum matching posts to print.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=100))]
    samples: i32,
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    /// Accept operators of PowerTrack that X does not list for Powerstream.
    #[arg(long)]
    unlisted_operators: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Tests a rule.
pub(super) async fn run(args: &TestArgs) -> Result<Shown, Failure> {
    let rule = FileRule { value: args.value.clone(), line: 1, column: Some(1), ..FileRule::default() };
    let found = RuleFiles::of("VALUE", vec![rule]).findings(args.unlisted_operators);
    let text = output::render(output::ReportFormat::Text, &found).unwrap_or_default();
    if !text.is_empty() {
        print_status(format_args!("{}", text.trim_end()));
    }
    if found.iter().any(|found| found.severity == Severity::Error) {
        return Err(Failure::Other(Exit::Failed, "the rule has errors; correct them first".to_owned()));
    }
    let mut client = args.gateway.connect().await?;
    let end = Clock::system().system_now();
    let start = UnixMillis(end.0.saturating_sub(i64::try_from(args.since.as_millis()).unwrap_or(i64::MAX)));
    let request = TestRuleRequest {
        value: args.value.clone(),
        interval: Some(TimeInterval { start_time: Some(timestamp(start)), end_time: None }),
        samples_max: args.samples,
        ..TestRuleRequest::default()
    };
    let response = client.test_rule(request).await?;
    Ok(Shown::new(args.format, &json(&response, &found), || shown(&response)))
}

fn shown(response: &TestRuleResponse) -> String {
    let TestRuleResponse { posts, matches, truncated, .. } = response;
    let mut out = Vec::new();
    for sample in &response.samples {
        tail::EventFormat::Human { width: SAMPLE_COLUMNS }.event(&event(sample), &mut out);
    }
    let interval = response.interval.unwrap_or_default();
    let (start, end) = (time(interval.start_time.as_ref()), time(interval.end_time.as_ref()));
    let mut text = String::from_utf8_lossy(&out).into_owned();
    let share = if *posts == 0 { 0.0 } else { 100.0 * *matches as f64 / *posts as f64 };
    let rate = match hours(&interval) {
        Some(hours) => format!(", {:.1} per hour", *matches as f64 / hours),
        None => String::new(),
    };
    text += &format!(
        "{matches} of {posts} posts match ({share:.2} %{rate}), {} to {}\n",
        start.unwrap_or_default(),
        end.unwrap_or_default()
    );
    if *truncated {
        text += "the log of the interval was not read to its end: take a shorter one with --since\n";
    }
    text += "only posts that rules of the account matched are in the log: at X the rule may match more\n";
    text
}

/// Hours of an interval, if it has a length.
fn hours(interval: &TimeInterval) -> Option<f64> {
    let seconds = interval.end_time?.seconds - interval.start_time?.seconds;
    (seconds > 0).then_some(seconds as f64 / 3_600.0)
}

/// Returns a sample as an event, for the output of `tail`.
fn event(sample: &RuleSample) -> Event {
    let millis = |time: &prost_types::Timestamp| time.seconds.saturating_mul(1_000) + i64::from(time.nanos / 1_000_000);
    Event {
        post_id: sample.post_id,
        tags: sample.tags.clone(),
        event_time_ms: sample.event_time.as_ref().map_or(0, millis),
        json: sample.json.clone(),
        ..Event::default()
    }
}

fn json(response: &TestRuleResponse, found: &[Located]) -> Value {
    let interval = response.interval.unwrap_or_default();
    let sample = |own: &RuleSample| {
        json!({
            "post_id": own.post_id.to_string(), "event_time": time(own.event_time.as_ref()), "tags": own.tags,
            "post": serde_json::from_str::<Value>(&own.json).unwrap_or_else(|_| own.json.clone().into()),
        })
    };
    json!({
        "posts": response.posts, "matches": response.matches, "truncated": response.truncated,
        "start_time": time(interval.start_time.as_ref()), "end_time": time(interval.end_time.as_ref()),
        "samples": response.samples.iter().map(sample).collect::<Vec<_>>(), "findings": found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_names_share_rate_and_limits() {
        let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let response = TestRuleResponse {
            interval: Some(TimeInterval { start_time: time(0), end_time: time(7_200) }),
            posts: 400,
            matches: 10,
            samples: vec![RuleSample {
                post_id: 7,
                event_time: time(60),
                tags: vec!["pets".to_owned()],
                json: r#"{"id_str": "7", "text": "a cat", "user": {"screen_name": "ada"}}"#.to_owned(),
            }],
            truncated: true,
            findings: Vec::new(),
        };
        let text = shown(&response);
        for words in ["pets", "a cat", "10 of 400 posts match (2.50 %, 5.0 per hour)", "shorter", "may match more"] {
            assert!(text.contains(words), "{text}");
        }
        assert_eq!(json(&response, &[])["samples"][0]["post"]["text"], "a cat");
    }
}
