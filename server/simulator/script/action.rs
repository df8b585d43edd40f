use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::rule_action::{RuleChange, RuleOutage};
use crate::model::TimeRange;
use crate::simulator::config::Config;
use crate::simulator::faults::{
    BogusResponse, CutKind, DateHeader, ErrorResponse, Flow, JobFault, Repeat, Scope, StreamError,
};
use crate::simulator::handle::SimulatorHandle;

/// Settings that are read once, at the start, so that no action can change them.
const FIXED: [&str; 11] = [
    "rate",
    "seed",
    "framing",
    "datacenters",
    "posts",
    "at_end",
    "rules",
    "rules_requests_max",
    "history_entries_max",
    "history_bytes_max",
    "write_log_entries_max",
];

/// Something that is done to the streams, in words of a script or of `POST /simulator/do`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Cuts streams.
    Cut {
        /// How.
        kind: CutKind,
        /// Which.
        #[serde(default = "live")]
        of: Scope,
    },
    /// Ends streams with an error object.
    EndWith {
        /// Which one.
        error: StreamError,
        /// Which.
        #[serde(default = "live")]
        of: Scope,
    },
    /// Drops live connections as if their buffers were full.
    SlowReader {
        /// Whether X sends the reason.
        #[serde(default)]
        message: bool,
        /// Which.
        #[serde(default = "live")]
        of: Scope,
    },
    /// Nothing comes any more.
    Stall {
        /// Over which streams.
        #[serde(default = "live")]
        of: Scope,
    },
    /// A message without an end comes byte by byte.
    Trickle {
        /// A byte this often.
        #[serde(with = "humantime_serde")]
        every: Duration,
        /// Over which streams.
        #[serde(default = "live")]
        of: Scope,
    },
    /// Malformed lines instead of posts.
    Garbage {
        /// A line this often.
        #[serde(with = "humantime_serde")]
        every: Duration,
        /// Over which streams.
        #[serde(default = "live")]
        of: Scope,
    },
    /// What is to come comes again: no stall, no trickle, no garbage.
    Resume {
        /// Over which streams.
        #[serde(default = "live")]
        of: Scope,
    },
    /// Leaves out so many of the next heartbeats.
    SkipHeartbeats(u32),
    /// Refuses requests for streams: so often, for so long, or until `allow`.
    Refuse {
        /// A refusal by name.
        with: String,
        /// Which requests.
        #[serde(default = "all")]
        of: Scope,
        /// So many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        times: Option<u32>,
        /// For so long.
        #[serde(default, rename = "for", with = "humantime_serde", skip_serializing_if = "Option::is_none")]
        lasting: Option<Duration>,
    },
    /// Answers requests for streams with 200 and then no posts: so often, for so long, or until `allow`.
    Answer {
        /// With what.
        with: BogusResponse,
        /// Which requests.
        #[serde(default = "live")]
        of: Scope,
        /// So many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        times: Option<u32>,
        /// For so long.
        #[serde(default, rename = "for", with = "humantime_serde", skip_serializing_if = "Option::is_none")]
        lasting: Option<Duration>,
    },
    /// Ends refusals and other answers.
    Allow {
        /// Those with this scope; all if absent.
        #[serde(default)]
        of: Option<Scope>,
    },
    /// Recovery jobs to come go wrong.
    FailJobs {
        /// How.
        with: JobFault,
        /// So many.
        #[serde(default = "once")]
        times: u32,
    },
    /// Requests for rules fail.
    FailRules(RuleOutage),
    /// Ends the failures of requests for rules.
    AllowRules {},
    /// Rules change without a request of the gateway.
    ChangeRules(RuleChange),
    /// Posts drawn per second.
    Rate(f64),
    /// Whether no posts are drawn.
    Pause(bool),
    /// The `Date` header.
    Date(DateHeader),
    /// X's time is so many seconds later than the clock.
    Skew(i64),
    /// Changes settings of the simulator.
    Set(Map<String, Value>),
    /// Bytes into all live connections.
    Inject(String),
    /// Fills the past with posts.
    History {
        /// From so long ago.
        #[serde(with = "humantime_serde")]
        from: Duration,
        /// Until so long ago.
        #[serde(with = "humantime_serde")]
        to: Duration,
        /// So many a second.
        rate: f64,
    },
}

fn live() -> Scope {
    Scope::Live
}

fn all() -> Scope {
    Scope::All
}

fn once() -> u32 {
    1
}

impl Action {
    /// What they are called.
    pub const NAMES: [&str; 22] = [
        "cut",
        "end_with",
        "slow_reader",
        "stall",
        "trickle",
        "garbage",
        "resume",
        "skip_heartbeats",
        "refuse",
        "answer",
        "allow",
        "fail_jobs",
        "fail_rules",
        "allow_rules",
        "change_rules",
        "rate",
        "pause",
        "date",
        "skew",
        "set",
        "inject",
        "history",
    ];

    /// The action of this name with these arguments, if it suits the settings.
    pub fn read(name: &str, arguments: &Value, config: &Config) -> Result<Self, String> {
        // Without arguments all have their defaults.
        let arguments = if arguments.is_null() { &json!({}) } else { arguments };
        let known = Self::NAMES.contains(&name);
        let with_name = |error: String| if known { format!("{name}: {error}") } else { error };
        let action: Self =
            serde_json::from_value(json!({ name: arguments })).map_err(|error| with_name(error.to_string()))?;
        action.check(config).map_err(with_name)?;
        Ok(action)
    }

    fn check(&self, config: &Config) -> Result<(), String> {
        match self {
            Self::Refuse { with, times, lasting, .. } => {
                if ErrorResponse::named(with).is_none() {
                    return Err(format!("no refusal is called {with}: there are {}", ErrorResponse::NAMES.join(", ")));
                }
                Repeat::from_terms(*times, *lasting)?;
            }
            Self::Answer { times, lasting, .. } => drop(Repeat::from_terms(*times, *lasting)?),
            Self::Rate(rate) | Self::History { rate, .. } if !rate.is_finite() || *rate < 0.0 => {
                return Err("a rate is a number of posts per second".into());
            }
            Self::Set(settings) => drop(changed(config, settings)?),
            Self::FailRules(failure) => failure.check()?,
            Self::ChangeRules(change) => change.check()?,
            _ => {}
        }
        match self.scope() {
            Some(Scope::Datacenter(name)) if !config.datacenters.contains(name) => {
                Err(format!("there is no datacenter {name}: there are {}", config.datacenters.join(", ")))
            }
            _ => Ok(()),
        }
    }

    fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Cut { of, .. }
            | Self::EndWith { of, .. }
            | Self::SlowReader { of, .. }
            | Self::Stall { of }
            | Self::Trickle { of, .. }
            | Self::Garbage { of, .. }
            | Self::Resume { of }
            | Self::Refuse { of, .. }
            | Self::Answer { of, .. } => Some(of),
            Self::Allow { of } => of.as_ref(),
            _ => None,
        }
    }

    /// Applies it. Returns a description of the effect.
    pub fn apply(&self, handle: &SimulatorHandle) -> String {
        let streams = |verb: &str, count: usize| format!("{verb} {count} streams");
        match self {
            Self::Cut { kind, of } if kind.waits() => streams("is to cut", handle.cut_of(of, *kind)),
            Self::Cut { kind, of } => streams("cut", handle.cut_of(of, *kind)),
            Self::EndWith { error, of } => streams("ended", handle.end_with(of, *error)),
            Self::SlowReader { message, of } => streams("dropped", handle.cut_slow_reader(of, *message)),
            Self::Stall { of } => flow(handle, of, Flow::Stalled),
            Self::Trickle { every, of } => flow(handle, of, Flow::Trickle { every: *every }),
            Self::Garbage { every, of } => flow(handle, of, Flow::Garbage { every: *every }),
            Self::Resume { of } => flow(handle, of, Flow::Open),
            Self::SkipHeartbeats(count) => {
                handle.skip_heartbeats(*count);
                format!("skips {count} heartbeats")
            }
            Self::FailJobs { with, times } => {
                handle.fail_jobs(*times, with.clone());
                format!("{times} jobs will fail")
            }
            Self::FailRules(failure) => failure.apply(handle),
            Self::ChangeRules(change) => change.apply(handle),
            Self::AllowRules {} => {
                handle.clear_rule_faults();
                "allows requests for rules".into()
            }
            Self::Refuse { .. } | Self::Answer { .. } | Self::Allow { .. } => self.answer(handle),
            _ => self.change(handle),
        }
    }

    fn answer(&self, handle: &SimulatorHandle) -> String {
        // A parsed action has passed the check; an invalid one built in code has no effect.
        match self {
            Self::Refuse { with, of, times, lasting } => {
                if let (Some(refusal), Ok(times)) = (ErrorResponse::named(with), Repeat::from_terms(*times, *lasting)) {
                    handle.refuse(of, times, refusal);
                }
                format!("refuses with {with}")
            }
            Self::Answer { with, of, times, lasting } => {
                if let Ok(times) = Repeat::from_terms(*times, *lasting) {
                    handle.answer_with(of, times, *with);
                }
                format!("answers with {with:?}")
            }
            Self::Allow { of: Some(of) } => {
                handle.clear_refusals_of(of);
                format!("allows {of:?}")
            }
            _ => {
                handle.clear_refusals();
                "allows all".into()
            }
        }
    }

    fn change(&self, handle: &SimulatorHandle) -> String {
        match self {
            Self::Rate(rate) => handle.set_rate(*rate),
            Self::Pause(true) => handle.pause(),
            Self::Pause(false) => handle.resume(),
            Self::Date(date) => handle.set_date(date.clone()),
            Self::Skew(seconds) => handle.set_skew_seconds(*seconds),
            Self::Set(settings) => handle.update_config(|config| {
                if let Ok(new) = changed(config, settings) {
                    *config = new;
                }
            }),
            Self::Inject(text) => handle.inject(text.clone().into_bytes()),
            Self::History { from, to, rate } => {
                let now = handle.now();
                let made = handle.history(TimeRange::new(now.minus(*from), now.minus(*to)), *rate);
                return format!("put {made} posts into the past");
            }
            _ => {}
        }
        "done".into()
    }
}

fn flow(handle: &SimulatorHandle, of: &Scope, flow: Flow) -> String {
    format!("{} streams are open", handle.set_flow(of, flow))
}

/// The settings with these in the place of theirs.
fn changed(config: &Config, settings: &Map<String, Value>) -> Result<Config, String> {
    if let Some(fixed) = settings.keys().find(|key| FIXED.contains(&key.as_str())) {
        return Err(format!("{fixed} is read once, at the start: give it to --config"));
    }
    let mut tree = serde_json::to_value(config).map_err(|error| error.to_string())?;
    for (key, value) in settings {
        tree[key] = value.clone();
    }
    let config: Config = serde_json::from_value(tree).map_err(|error| error.to_string())?;
    match config.backfill_doubled_percent {
        0..=100 => Ok(config),
        percent => Err(format!("backfill_doubled_percent cannot be {percent}")),
    }
}
