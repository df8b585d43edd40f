use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::RulesApiConfig;

/// Settings of the stand-in for X.
///
/// `SimulatorHandle::tune` changes them while it runs. Read once, at the start: `rate`, `seed`, `framing`, `datacenters`, `posts`,
/// `at_end`, `rules`, `rules_requests_max` and the bounds of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The bearer token to accept; without one any token will do, but there must be one.
    pub bearer: Option<String>,
    /// Posts drawn per second. Posts that no rule matches are not sent, as with X.
    pub rate: f64,
    /// Seed of every random decision: the same seed draws the same posts.
    pub seed: u64,
    /// Interval of heartbeats (20 s: X, consuming streaming data; older pages state 10, 15 and 30).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub heartbeat: Duration,
    /// Heartbeats come up to this much later than that, each by a time drawn from the seed.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub heartbeat_jitter: Duration,
    /// Whether responses are compressed.
    pub gzip: Gzip,
    /// Delimiters of messages.
    pub framing: Framing,
    /// Where HTTP chunks end.
    pub chunking: Chunking,
    /// Live connections allowed at a time (X names no number; 1 is the strictest).
    pub live_connections_max: usize,
    /// Recovery jobs allowed at a time, in addition to the live connections (2: X, recovery and redundancy).
    pub recovery_jobs_max: usize,
    /// Handling of a live connection above the limit.
    pub excess: ConnectionLimitPolicy,
    /// How long a connection above the limit stays open where it is not refused at once (1 min: PowerTrack guide).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub excess_grace: Duration,
    /// How long a slot stays taken after its connection or job ended without a clean end (minutes, seen in the wild).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub slot_held: Duration,
    /// Bytes kept for a live connection that reads too slowly; beyond them it is dropped and may not backfill.
    pub slow_reader_bytes_max: u64,
    /// Whether a slow reader receives the reason of its disconnect, if it reads that far.
    pub slow_reader_message: bool,
    /// What the first connection after a slow reader was dropped gets instead of backfill.
    pub slow_reader_backfill: AfterOverflow,
    /// How `backfillMinutes` is served.
    pub backfill: Backfill,
    /// Of a hundred posts of a backfill so many come twice.
    pub backfill_doubled_percent: u8,
    /// Live posts come between those of the backfill, not after them.
    pub backfill_interleaved: bool,
    /// Posts per second of a recovery job at most (1,000: PowerTrack FAQ).
    pub recovery_rate: f64,
    /// A recovery job sends only heartbeats for this long.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub recovery_delay: Duration,
    /// How a recovery job ends.
    pub recovery_end: Completion,
    /// Recovery refuses an end younger than this (Replay had 30 min; zero: no such limit).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub recovery_freshness: Duration,
    /// Recovered and backfilled posts have other counts than live, as X's replays have: their bytes differ from the truth.
    pub replay_changes_counts: bool,
    /// Names of the datacenters that posts are made in, at most 32 (`atla` is the one X documents).
    pub datacenters: Vec<String>,
    /// Play the posts of this file (JSON lines) instead of drawing them.
    pub posts: Option<PathBuf>,
    /// Fill `matching_rules` of played posts from the rules, and send only what matches; else each line goes out as it is.
    pub match_posts: bool,
    /// What comes after the last played post.
    pub at_end: AtEnd,
    /// The rules at the start.
    pub rules: Vec<InitialRule>,
    /// Refuse a stream without rules with 409 (filtered stream does; Powerstream is silent).
    pub rules_required: bool,
    /// How long until an added rule matches (X: at once, up to 5 min).
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rules_delay: Duration,
    /// How long a removed rule still matches.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rules_removal_delay: Duration,
    /// Rule requests allowed in 24 h (50: Powerstream introduction).
    pub rules_requests_max: usize,
    /// Variants of the answers to rule requests.
    pub rules_api: RulesApiConfig,
    /// The shape of `matching_rules`.
    pub matching_rules: MatchingRules,
    /// Posts are up to this much older than the moment they are sent, so that ids come out of order.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub disorder: Duration,
    /// Messages kept for backfill, recovery and the truth; the oldest go first.
    pub history_entries_max: usize,
    /// Bytes of payload kept for the same.
    pub history_bytes_max: usize,
    /// Posts written to connections that are remembered for assertions; the oldest go first. 0 = none.
    pub write_log_entries_max: usize,
    /// Requests remembered for assertions; the oldest go first.
    pub requests_max: usize,
}

/// A rule that is there from the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InitialRule {
    /// The rule in PowerTrack's syntax.
    pub value: String,
    /// Its tag.
    #[serde(default)]
    pub tag: Option<String>,
}

/// Whether responses are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gzip {
    /// If the client accepts it.
    #[default]
    Negotiated,
    /// Always; a client that does not accept it gets 406.
    Required,
    /// Never.
    Off,
}

/// Delimiters of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// One object per line, CR LF.
    #[default]
    Crlf,
    /// One object per line, LF.
    Lf,
    /// An array of one object per line, CR LF.
    Array,
    /// An object over several LF lines, then CR LF.
    Pretty,
    /// All of these in turn.
    Mixed,
}

/// Where HTTP chunks end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Chunking {
    /// After each message.
    #[default]
    Message,
    /// Anywhere: inside messages, characters and CR LF, at places drawn from the seed.
    Anywhere,
}

/// Handling of a live connection above the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionLimitPolicy {
    /// 429 at once (X, handling disconnections).
    #[default]
    Refuse429,
    /// After the grace the newest connection is ended (PowerTrack, too many connections).
    NewestKilledAfterGrace,
    /// After the grace the oldest connection is ended (PowerTrack, disconnections).
    OldestKilledAfterGrace,
}

/// How `backfillMinutes` is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Backfill {
    /// Older posts first, then live.
    #[default]
    OlderFirst,
    /// The newest of the period first, then live.
    NewestFirst,
    /// As if it had not been asked for.
    Ignored,
    /// 400.
    Refused,
    /// 403.
    Forbidden,
}

/// What comes instead of backfill after a slow reader was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AfterOverflow {
    /// Live alone, as if none had been asked for (PowerTrack guide: data starts at the reconnect).
    #[default]
    Withheld,
    /// 400.
    Refused,
}

/// How a recovery job ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Completion {
    /// All posts are sent, then the completion message.
    #[default]
    Completed,
    /// The first minute that has posts is left out, and the message names it.
    CompletedWithErrors,
    /// It stops before the last minute, and the message names it.
    Failed,
    /// All posts are sent without a message.
    Silent,
}

/// What comes after the last played post.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AtEnd {
    /// Nothing; the stream stays open.
    #[default]
    Stop,
    /// The first again, with new ids from then on.
    Loop,
}

/// The shape of `matching_rules`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchingRules {
    /// `{"tag":"t","id":1,"id_str":"1"}` (PowerTrack).
    #[default]
    IdAndTag,
    /// `{"id":"1","tag":"t"}` (filtered stream).
    StringId,
    /// `{"tag":"t"}` (search-delivered posts).
    TagOnly,
    /// None at all (Powerstream's own sample).
    Absent,
}

impl Default for Config {
    fn default() -> Self {
        let rule = |value: &str, tag: &str| InitialRule { value: value.into(), tag: Some(tag.into()) };
        Self {
            bearer: None,
            rate: 50.0,
            seed: 1,
            heartbeat: Duration::from_secs(20),
            heartbeat_jitter: Duration::ZERO,
            gzip: Gzip::default(),
            framing: Framing::default(),
            chunking: Chunking::default(),
            live_connections_max: 1,
            recovery_jobs_max: 2,
            excess: ConnectionLimitPolicy::default(),
            excess_grace: Duration::from_secs(60),
            slot_held: Duration::ZERO,
            slow_reader_bytes_max: 16 << 20,
            slow_reader_message: true,
            slow_reader_backfill: AfterOverflow::default(),
            backfill: Backfill::default(),
            backfill_doubled_percent: 0,
            backfill_interleaved: false,
            recovery_rate: 1_000.0,
            recovery_delay: Duration::ZERO,
            recovery_end: Completion::default(),
            recovery_freshness: Duration::ZERO,
            replay_changes_counts: false,
            datacenters: vec!["atla".into(), "pdxa".into()],
            posts: None,
            match_posts: false,
            at_end: AtEnd::default(),
            rules: vec![
                rule("cat OR 猫 OR gato", "cats"),
                rule("dog OR 犬 OR perro", "dogs"),
                rule("lang:ja", "japanese"),
                rule("has:links", "links"),
                rule("is:retweet", "retweets"),
            ],
            rules_required: false,
            rules_delay: Duration::ZERO,
            rules_removal_delay: Duration::ZERO,
            rules_requests_max: 50,
            rules_api: RulesApiConfig::default(),
            matching_rules: MatchingRules::default(),
            disorder: Duration::ZERO,
            history_entries_max: 1_000_000,
            history_bytes_max: 1 << 30,
            write_log_entries_max: 0,
            requests_max: 10_000,
        }
    }
}

impl Framing {
    /// The framing of the message with this number.
    pub(super) fn of(self, number: u64) -> Self {
        match (self, number % 4) {
            (Self::Mixed, 0) => Self::Crlf,
            (Self::Mixed, 1) => Self::Lf,
            (Self::Mixed, 2) => Self::Array,
            (Self::Mixed, _) => Self::Pretty,
            (one, _) => one,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_round_trip_and_unknown_keys_fail() {
        let json = serde_json::to_string(&Config::default()).expect("serialises");
        assert_eq!(serde_json::from_str::<Config>(&json).expect("its own output"), Config::default());
        assert!(serde_json::from_str::<Config>(r#"{"speed":1}"#).is_err());
        assert_eq!(serde_json::from_str::<Config>("{}").expect("all have defaults"), Config::default());
    }
}
