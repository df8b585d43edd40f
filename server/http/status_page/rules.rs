//! The rules of an account, from what the gateway knows of them.

use super::snapshot::{Listed, RuleSnapshot, RulesSnapshot};
use crate::access::{Grant, Right};
use crate::escape;
use crate::model::UnixMillis;
use crate::rules::{AccountRules, Mode, RuleList, RuleState, RuleView};

/// Maximum rules. Rules that need attention are listed first, then rules with most matches.
const RULES_MAX: usize = 500;
/// Maximum bytes of an error.
const ERROR_BYTES_MAX: usize = 512;

/// Returns the rules whose tags this grant allows to see. `None` without the right to read rules.
pub(super) fn collect(rules: &AccountRules, grant: &Grant) -> Option<RulesSnapshot> {
    if !grant.allows(Right::RulesRead) {
        return None;
    }
    let (status, budget) = (rules.status(), rules.budget());
    let RuleList { rules: mut all, as_of, sets, .. } = rules.list();
    all.retain(|rule| grant.is_tag_visible(&rule.tag));
    let problem = [&status.damaged, &status.denied, &status.refused_files]
        .into_iter()
        .chain(sets.iter().map(|set| &set.suspended_reason))
        .find(|problem| !problem.is_empty());
    Some(RulesSnapshot {
        is_managed: status.mode == Mode::Manage,
        is_converged: status.is_converged,
        as_of,
        problem: problem.map(|problem| shown(problem)).unwrap_or_default(),
        pending_adds: status.pending.0,
        pending_deletes: status.pending.1,
        unknown_ids: status.unknown_ids.len(),
        budget_limit: budget.limit,
        budget_used: budget.used,
        budget_reserve: budget.reserve,
        next_request: status.next_request.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        list: listed(all),
    })
}

fn shown(text: &str) -> String {
    escape::line(&text[..text.floor_char_boundary(ERROR_BYTES_MAX)]).into_owned()
}

fn listed(mut rules: Vec<RuleView>) -> Listed<RuleSnapshot> {
    rules.sort_by_key(|rule| (rule.state == RuleState::Active, std::cmp::Reverse(matches(rule))));
    let count = rules.len();
    rules.truncate(RULES_MAX);
    Listed { list: rules.into_iter().map(view).collect(), count }
}

fn matches(rule: &RuleView) -> Option<u64> {
    rule.sightings.map(|seen| seen.matches_24h)
}

fn view(rule: RuleView) -> RuleSnapshot {
    let last_seen: Option<UnixMillis> = rule.sightings.and_then(|seen| seen.last_seen_time);
    let (set, name) = rule.name.as_ref().map_or(("", ""), |name| (name.set.as_str(), name.name.as_str()));
    RuleSnapshot {
        set: shown(set),
        name: shown(name),
        id: rule.id.as_ref().map(ToString::to_string).unwrap_or_default(),
        tag: shown(&rule.tag),
        state: rule.state.name(),
        matches_24h: matches(&rule),
        last_seen,
        rejection: shown(&rule.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RuleSightings;

    fn rule(tag: &str, state: RuleState, matches: u64) -> RuleView {
        RuleView {
            name: None,
            id: None,
            value: "secret text".to_owned(),
            tag: tag.to_owned(),
            note: String::new(),
            state,
            message: String::new(),
            added_time: None,
            first_known_time: None,
            value_at_x: String::new(),
            sightings: Some(RuleSightings { matches_24h: matches, ..RuleSightings::default() }),
        }
    }

    #[test]
    fn rules_that_need_attention_are_first() {
        let rules = vec![
            rule("few", RuleState::Active, 1),
            rule("many", RuleState::Active, 9),
            rule("odd\u{1b}", RuleState::Rejected, 0),
        ];
        let listed = listed(rules);
        let tags: Vec<_> = listed.list.iter().map(|rule| rule.tag.as_str()).collect();
        assert_eq!(tags, ["odd\\u{1b}", "many", "few"]);
        let json = serde_json::to_string(&listed).expect("JSON");
        assert!(!json.contains("secret text"), "the text of a rule is not shown: {json}");
        let many = (0..RULES_MAX + 5).map(|_| rule("t", RuleState::Active, 0)).collect();
        let listed = self::listed(many);
        assert_eq!((listed.list.len(), listed.count), (RULES_MAX, RULES_MAX + 5));
    }
}
