//! A timeline of faults, so that a drill can be repeated by anyone.
//!
//! Owns: reading a script, checking all of it before anything begins, playing it by the clock. Does not own: what its
//! actions do (`handle`); `action` is their words, the same for a script and for `POST /simulator/do`.
//!
//! Invariants
//! - All faults of a script are reported at once, each with its step (`all_faults_are_reported_with_step`).
//! - Steps are played in the order of their times (`tests::scripts`: `script_is_played_by_clock`).

mod action;
mod rule_action;

use std::fmt;
use std::time::Duration;

use config::{File, FileFormat};
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

pub use action::Action;
pub use rule_action::{RuleChange, RuleOutage};

use super::config::Config;
use super::handle::SimulatorHandle;

/// Steps of a script at most: a day with something each ten seconds.
const STEPS_MAX: usize = 10_000;

/// A timeline of faults.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    steps: Vec<ScriptStep>,
}

/// An action and its time.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptStep {
    /// How long after the start of the script.
    pub at: Duration,
    /// What is done.
    pub action: Action,
}

/// All that is wrong with a script.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .0.join("\n"))]
pub struct ScriptError(pub Vec<String>);

#[derive(Deserialize)]
struct StepTime {
    #[serde(with = "humantime_serde")]
    at: Duration,
}

impl Script {
    /// Reads YAML, `steps:` and a list; each step is `at` and one action. It must suit these settings.
    pub fn parse(text: &str, config: &Config) -> Result<Self, ScriptError> {
        let one = |fault: String| ScriptError(vec![fault]);
        let read = config::Config::builder().add_source(File::from_str(text, FileFormat::Yaml)).build();
        let tree = read.and_then(|read| read.try_deserialize::<Map<String, Value>>());
        let tree = tree.map_err(|error| one(format!("this is no YAML with a list of steps: {error}")))?;
        let mut faults: Vec<_> = tree
            .keys()
            .filter(|key| *key != "steps")
            .map(|key| format!("unknown key {key:?}: a script has only `steps`"))
            .collect();
        let list = match tree.get("steps") {
            Some(Value::Array(list)) if !list.is_empty() && list.len() <= STEPS_MAX => list.as_slice(),
            _ => {
                faults.push(format!(
                    "`steps` must be a list of 1 to {STEPS_MAX} steps, as in `- {{at: 30s, pause: true}}`"
                ));
                &[]
            }
        };
        let mut steps = Vec::with_capacity(list.len());
        for (number, step) in list.iter().enumerate() {
            match ScriptStep::read(step, config) {
                Ok(step) => steps.push(step),
                Err(fault) => faults.push(format!("step {}{}: {fault}", number + 1, shown_time(step))),
            }
        }
        steps.sort_by_key(|step: &ScriptStep| step.at);
        if faults.is_empty() { Ok(Self { steps }) } else { Err(ScriptError(faults)) }
    }

    /// The steps, in the order they are played.
    pub fn steps(&self) -> &[ScriptStep] {
        &self.steps
    }

    /// Plays all steps by the simulator's clock, from now on, and reports each to `observer` with its effect.
    pub async fn play(&self, handle: &SimulatorHandle, mut observer: impl FnMut(&ScriptStep, &str)) {
        let clock = handle.clock();
        let started = clock.moment();
        for step in &self.steps {
            clock.sleep_until(started.plus(step.at)).await;
            let done = step.action.apply(handle);
            tracing::info!(%step, done, "script step applied");
            observer(step, &done);
        }
    }
}

impl fmt::Display for ScriptStep {
    /// The time, and the action as it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = serde_json::to_string(&self.action).map_err(|_| fmt::Error)?;
        write!(f, "{:.1} s: {action}", self.at.as_secs_f64())
    }
}

impl ScriptStep {
    fn read(step: &Value, config: &Config) -> Result<Self, String> {
        let Some(step) = step.as_object() else {
            return Err("a step is `at` and one action, as in `{at: 30s, cut: {kind: reset}}`".into());
        };
        let at = serde_json::from_value::<StepTime>(
            step.get("at").map(|at| serde_json::json!({"at": at})).unwrap_or_default(),
        );
        let at = at.map_err(|_| "`at` must be a time since the start of the script, such as 90s or 1h 5m")?.at;
        let mut actions = step.iter().filter(|(key, _)| *key != "at");
        match (actions.next(), actions.next()) {
            (Some((name, arguments)), None) => Ok(Self { at, action: Action::read(name, arguments, config)? }),
            (None, _) => Err(format!("there is no action; there are {}", Action::NAMES.join(", "))),
            (Some((one, _)), Some((other, _))) => {
                Err(format!("{one} and {other} are two actions: give each a step of its own"))
            }
        }
    }
}

fn shown_time(step: &Value) -> String {
    step.get("at").and_then(Value::as_str).map_or_else(String::new, |at| format!(" (at {at})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_is_read_and_put_into_order() {
        let text = "
steps:
  - at: 1m 30s
    refuse: {with: unavailable, of: live, for: 10m}
  - {at: 2s, pause: true}
  - at: 30s
    cut: {kind: mid_post, of: {datacenter: pdxa}}
  - {at: 31s, resume: }
  - {at: 32s, answer: {with: {garbage: {every: 1s}}, times: 2}}
  - {at: 33s, fail_jobs: {with: {minutes_failed: [3, 4]}}}
  - {at: 34s, set: {backfill: newest_first, backfill_doubled_percent: 30, slot_held: 1m}}
  - {at: 35s, date: {off_by_seconds: 7200}}
  - {at: 36s, date: absent}
  - {at: 37s, date: right}
";
        let script = Script::parse(text, &Config::default()).expect("it is right");
        let seconds: Vec<_> = script.steps().iter().map(|step| step.at.as_secs()).collect();
        assert_eq!(script.steps()[1].to_string(), r#"30.0 s: {"cut":{"kind":"mid_post","of":{"datacenter":"pdxa"}}}"#);
        assert_eq!(seconds, [2, 30, 31, 32, 33, 34, 35, 36, 37, 90]);
    }

    #[test]
    fn all_faults_are_reported_with_step() {
        let text = "
speed: 3
steps:
  - {at: 5s, cutt: {kind: reset}}
  - {at: soon, pause: true}
  - {at: 6s, cut: {kind: reset, off: live}}
  - {at: 7s, cut: {kind: half}}
  - {at: 8s, refuse: {with: nothing}}
  - {at: 9s, refuse: {with: html, times: 1, for: 3s}}
  - {at: 10s, stall: {of: {datacenter: mars}}}
  - {at: 11s, set: {framing: lf}}
  - {at: 12s, set: {backfil: ignored}}
  - {at: 13s, set: {backfill: sideways}}
  - {at: 14s, pause: true, rate: 5}
  - {at: 15s}
  - nothing
";
        let ScriptError(faults) = Script::parse(text, &Config::default()).expect_err("nothing in it is right");
        let expected = [
            "unknown key \"speed\"",
            "step 1 (at 5s): unknown variant `cutt`, expected one of `cut`",
            "step 2 (at soon): `at` must be a time",
            "step 3 (at 6s): cut: unknown field `off`, expected `kind` or `of`",
            "step 4 (at 7s): cut: unknown variant `half`, expected one of `clean_end`",
            "step 5 (at 8s): refuse: no refusal is called nothing: there are unauthorized,",
            "step 6 (at 9s): refuse: set `times` or `for`",
            "step 7 (at 10s): stall: there is no datacenter mars: there are atla, pdxa",
            "step 8 (at 11s): set: framing is read once, at the start",
            "step 9 (at 12s): set: unknown field `backfil`, expected one of `bearer`",
            "step 10 (at 13s): set: unknown variant `sideways`, expected one of `older_first`",
            "step 11 (at 14s): pause and rate are two actions",
            "step 12 (at 15s): there is no action; there are cut,",
            "step 13: a step is `at` and one action",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{fault}\n{expected}");
        }
        for wrong in ["", "steps: []", "steps: 3", "- a", "{"] {
            assert!(Script::parse(wrong, &Config::default()).is_err(), "{wrong}");
        }
    }
}
