//! Notices about the rules of an account.

use std::sync::Arc;

use crate::hub::filter::RulesNotice;
use crate::model::{Rule, RulesCause};
use crate::proto::{self, ChangedRule, RulesChangeCause, StreamNotice, StreamNoticeKind};

/// Maximum tags that the text of a notice names.
const TAGS_MAX: usize = 5;

/// Converts a change of the rules that X applies by a time.
pub(super) fn notice(notice: RulesNotice, effective_by: prost_types::Timestamp) -> StreamNotice {
    let message = text(&notice);
    let changed = |rules: Vec<Rule>| rules.into_iter().map(changed_rule).collect();
    StreamNotice {
        kind: StreamNoticeKind::RulesChanged.into(),
        message,
        sequence: notice.sequence,
        filter_orphaned: !notice.orphaned_tags.is_empty(),
        orphaned_tags: notice.orphaned_tags.iter().map(ToString::to_string).collect(),
        rule_change: Some(proto::RulesChange {
            revision: notice.revision,
            added: changed(notice.added),
            removed: changed(notice.removed),
            cause: cause(notice.cause).into(),
            effective_by: Some(effective_by),
        }),
    }
}

fn changed_rule(rule: Rule) -> ChangedRule {
    let tag = rule.tag().map(ToString::to_string).unwrap_or_default();
    ChangedRule { rule_id: rule.id.unwrap_or_default(), tag }
}

fn cause(cause: RulesCause) -> RulesChangeCause {
    match cause {
        RulesCause::Files => RulesChangeCause::Files,
        RulesCause::Call => RulesChangeCause::Call,
        RulesCause::Elsewhere => RulesChangeCause::Elsewhere,
    }
}

/// Returns the description for people: `revision 7: 1 added (cats), 0 removed; in effect by TIME`.
fn text(notice: &RulesNotice) -> String {
    let counted = |rules: &[Rule], how: &str| {
        let mut tags: Vec<&Arc<str>> = rules.iter().filter_map(Rule::tag).collect();
        tags.sort_unstable();
        tags.dedup();
        let named = if tags.is_empty() { String::new() } else { format!(" ({})", listed(&tags)) };
        format!("{} {how}{named}", rules.len())
    };
    let RulesNotice { revision, effective_by, .. } = notice;
    let (added, removed) = (counted(&notice.added, "added"), counted(&notice.removed, "removed"));
    let mut text = format!("revision {revision}: {added}, {removed}; in effect by {effective_by}");
    if !notice.orphaned_tags.is_empty() {
        let tags: Vec<_> = notice.orphaned_tags.iter().collect();
        text.push_str(&format!("; no rule is left for tags of this filter: {}", listed(&tags)));
    }
    text
}

fn listed(tags: &[&Arc<str>]) -> String {
    let mut names: Vec<String> = tags.iter().take(TAGS_MAX).map(|tag| format!("{tag:?}")).collect();
    names.extend(tags.len().checked_sub(TAGS_MAX).filter(|more| *more > 0).map(|more| format!("{more} more")));
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixMillis;

    #[test]
    fn notice_names_tags_and_orphans() {
        let rule = |id, tag: &str| Rule { id: Some(id), tag: Some(tag.into()) };
        let change = RulesNotice {
            sequence: 9,
            revision: 7,
            added: vec![rule(u64::MAX, "cats"), rule(2, "cats"), Rule { id: None, tag: None }],
            removed: (0..7).map(|id| rule(id, &format!("t{id}"))).collect(),
            cause: RulesCause::Elsewhere,
            effective_by: UnixMillis(300_000),
            orphaned_tags: vec!["t1".into()],
        };
        let wire = notice(change, prost_types::Timestamp { seconds: 300, nanos: 0 });
        assert_eq!(
            wire.message,
            "revision 7: 3 added (\"cats\"), 7 removed (\"t0\", \"t1\", \"t2\", \"t3\", \"t4\", 2 more); in effect by \
             1970-01-01T00:05:00.000Z; no rule is left for tags of this filter: \"t1\""
        );
        assert!(wire.filter_orphaned && wire.orphaned_tags == ["t1"] && wire.sequence == 9);
        let change = wire.rule_change.expect("set");
        assert_eq!((change.revision, change.cause()), (7, RulesChangeCause::Elsewhere));
        assert_eq!((change.added[0].rule_id, change.added[2].rule_id), (u64::MAX, 0));
        assert_eq!((&*change.added[2].tag, change.removed.len()), ("", 7));
    }
}
