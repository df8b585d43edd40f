//! `rules list`: rules with their states and matches.

use std::time::Duration;

use serde_json::{Value, json};

use super::apply::{operation_json, operation_line};
use super::files::number;
use super::gateway::{Failure, GatewayArgs, ListedRules};
use super::shown::{OutputFormat, Shown};
use crate::cli::table::Table;
use crate::cli::wire::{name, time};
use crate::clock::Clock;
use crate::escape;
use crate::model::UnixMillis;
use crate::proto::{ListRulesRequest, ListRulesResponse, Rule, RuleSet, RuleState};

/// Time without a match after which a rule counts as unused.
const UNUSED_AFTER: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Flags of `rules list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only rules of this set.
    #[arg(long, default_value = "")]
    set: String,
    /// Only rules in these states, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATE")]
    state: Vec<StateArg>,
    /// Only rules at X that have matched no post for 7 days.
    #[arg(long)]
    unused: bool,
    /// Most matches of the last 24 hours first.
    #[arg(long)]
    by_matches: bool,
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// State of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum StateArg {
    /// X has it.
    Active,
    /// Wanted; X does not have it yet.
    PendingAdd,
    /// Not wanted any more; X still has it.
    PendingDelete,
    /// X rejected it.
    Rejected,
    /// Whether X has it is not known.
    Unknown,
    /// X has it, and no set wants it.
    Unmanaged,
}

impl StateArg {
    fn state(self) -> RuleState {
        match self {
            Self::Active => RuleState::Active,
            Self::PendingAdd => RuleState::PendingAdd,
            Self::PendingDelete => RuleState::PendingDelete,
            Self::Rejected => RuleState::Rejected,
            Self::Unknown => RuleState::Unknown,
            Self::Unmanaged => RuleState::Unmanaged,
        }
    }
}

/// Lists rules.
pub(super) async fn run(args: &ListArgs) -> Result<Shown, Failure> {
    let mut client = args.gateway.connect().await?;
    let states = args.state.iter().map(|state| state.state().into()).collect();
    let request = ListRulesRequest { set: args.set.clone(), states, ..ListRulesRequest::default() };
    let ListedRules { mut rules, head } = client.list(&request).await?;
    if args.unused {
        let now = Clock::system().system_now();
        rules.retain(|rule| is_unused(rule, now));
    }
    if args.by_matches {
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.matches_24h));
    }
    Ok(Shown::new(args.format, &json(&rules, &head), || text(&rules, &head)))
}

/// True if X has had a rule for the whole time and no post has named it.
fn is_unused(rule: &Rule, now: UnixMillis) -> bool {
    let is_at_x = !rule.rule_id.is_empty();
    let millis = |time: &prost_types::Timestamp| time.seconds.saturating_mul(1_000);
    let since = UNUSED_AFTER.as_millis();
    let is_old = |time: &Option<prost_types::Timestamp>| {
        time.as_ref().is_some_and(|time| i128::from(now.0) - i128::from(millis(time)) >= since as i128)
    };
    is_at_x && is_old(&rule.first_known_time) && (rule.last_seen_time.is_none() || is_old(&rule.last_seen_time))
}

/// Returns the name of a state.
pub(super) fn state(rule: &Rule) -> String {
    name(rule.state().as_str_name(), "RULE_STATE_")
}

fn text(rules: &[Rule], head: &ListRulesResponse) -> String {
    let mut table = Table::new(&["SET", "NAME", "STATE", "TAG", "ID", "24H", "LAST MATCH", "TEXT"]);
    for own in rules {
        let matches = own.matches_24h.map_or("-".to_owned(), |matches| matches.to_string());
        table.add([
            or_dash(&own.set),
            or_dash(&own.name),
            state(own),
            or_dash(&own.tag),
            or_dash(&own.rule_id),
            matches,
            time(own.last_seen_time.as_ref()).unwrap_or_else(|| "-".to_owned()),
            own.value.clone(),
        ]);
    }
    let mut lines = Vec::new();
    for own in rules {
        let title = format!("{}/{}", own.set, own.name);
        if !own.rejection.is_empty() {
            lines.push(format!("{title}: rejected by X: {}", own.rejection));
        }
        if own.drifted {
            lines.push(format!("{title}: posts name its id with another tag: another client has changed the rules"));
        }
        if !own.value_at_x.is_empty() {
            lines.push(format!("{title}: at X: {}", own.value_at_x));
        }
    }
    lines.extend(about(rules.len(), head));
    let lines: String = lines.iter().map(|line| format!("{}\n", escape::line(line))).collect();
    format!("{}\n{lines}", table.text())
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn about(rules: usize, head: &ListRulesResponse) -> Vec<String> {
    let as_of = time(head.as_of_time.as_ref()).map_or("never read from X".to_owned(), |at| format!("as of {at}"));
    let mode = name(head.mode().as_str_name(), "RULE_MODE_");
    let converged = if head.converged { "converged" } else { "not converged" };
    let mut lines =
        vec![format!("{}, {as_of}, {mode}, {converged}, revision {}", number(rules, "rule"), head.revision)];
    if !head.problem.is_empty() {
        lines.push(format!("problem: {}", head.problem));
    }
    lines.extend(head.operation.as_ref().map(operation_line));
    let suspended = head.sets.iter().filter(|set| !set.suspended_reason.is_empty());
    lines.extend(suspended.map(|set| format!("set {} is suspended: {}", set.set, set.suspended_reason)));
    if !head.unknown_rule_ids.is_empty() {
        lines.push(format!(
            "posts name unknown rules, so another client has changed the rules: {}",
            head.unknown_rule_ids.join(", ")
        ));
    }
    lines
}

fn json(rules: &[Rule], head: &ListRulesResponse) -> Value {
    let rule = |own: &Rule| {
        json!({
            "set": own.set, "name": own.name, "rule_id": own.rule_id, "value": own.value, "tag": own.tag,
            "note": own.note, "state": state(own), "rejection": own.rejection,
            "added_time": time(own.added_time.as_ref()), "first_known_time": time(own.first_known_time.as_ref()),
            "first_seen_time": time(own.first_seen_time.as_ref()), "last_seen_time": time(own.last_seen_time.as_ref()),
            "matches_24h": own.matches_24h, "drifted": own.drifted, "value_at_x": own.value_at_x,
        })
    };
    let set = |own: &RuleSet| {
        json!({
            "set": own.set, "rule_count": own.rule_count, "update_time": time(own.update_time.as_ref()),
            "suspended_reason": own.suspended_reason,
        })
    };
    json!({
        "rules": rules.iter().map(rule).collect::<Vec<_>>(),
        "revision": head.revision, "as_of_time": time(head.as_of_time.as_ref()),
        "mode": name(head.mode().as_str_name(), "RULE_MODE_"), "converged": head.converged, "problem": head.problem,
        "operation": head.operation.as_ref().map(operation_json),
        "sets": head.sets.iter().map(set).collect::<Vec<_>>(),
        "unknown_rule_ids": head.unknown_rule_ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds: days * 86_400, nanos: 0 })
    }

    #[test]
    fn unused_rules_are_known_for_week() {
        let now = UnixMillis(100 * 86_400_000);
        let check = |id: &str, known, seen, expected| {
            let rule =
                Rule { rule_id: id.to_owned(), first_known_time: known, last_seen_time: seen, ..Rule::default() };
            assert_eq!(is_unused(&rule, now), expected, "{rule:?}");
        };
        check("7", at(90), None, true);
        check("7", at(90), at(92), true);
        check("7", at(90), at(99), false);
        check("7", at(99), None, false);
        check("7", None, None, false);
        check("", at(90), None, false);
    }

    #[test]
    fn list_names_states_and_problems() {
        let rule = Rule {
            set: "pets".to_owned(),
            name: "cats".to_owned(),
            value: "cat\u{1b}".to_owned(),
            state: RuleState::Rejected.into(),
            rejection: "no\u{1b}".to_owned(),
            ..Rule::default()
        };
        let head = ListRulesResponse {
            revision: 7,
            problem: "file is empty".to_owned(),
            unknown_rule_ids: vec!["99".to_owned()],
            ..ListRulesResponse::default()
        };
        let text = text(std::slice::from_ref(&rule), &head);
        for words in ["rejected by X: no", "problem: file is empty", "unknown rules", "revision 7", "never read"] {
            assert!(text.contains(words), "{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
        assert_eq!(json(&[rule], &head)["rules"][0]["state"], "rejected");
    }
}
