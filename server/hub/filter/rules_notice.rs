//! What a session receives of a change of the account's rules.

use std::sync::Arc;

use super::Filter;
use crate::model::{Rule, RulesCause, RulesChange, Sequence, UnixMillis};

/// A change of the account's rules, as one session receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesNotice {
    /// Record that announces it.
    pub sequence: Sequence,
    /// Revision of the rules after the change.
    pub revision: u64,
    /// Added rules that the caller may see.
    pub added: Vec<Rule>,
    /// Removed rules that the caller may see.
    pub removed: Vec<Rule>,
    /// Why the rules changed.
    pub cause: RulesCause,
    /// X applies the change at the latest at this time.
    pub effective_by: UnixMillis,
    /// Tags named by the filter that no rule has any more, in order.
    pub orphaned_tags: Vec<Arc<str>>,
}

impl Filter {
    /// Returns the notice of a change. Every session gets it, at the position of its record; its lists contain only rules
    /// whose posts the caller may see.
    pub fn rules_notice(&self, sequence: Sequence, change: &RulesChange) -> RulesNotice {
        let is_visible =
            |rule: &&Rule| self.right.as_ref().is_none_or(|right| right.is_visible(std::slice::from_ref(*rule)));
        let visible = |rules: &[Rule]| rules.iter().filter(is_visible).cloned().collect();
        let mut orphaned_tags: Vec<_> =
            self.tags_named().filter(|tag| change.orphaned_tags.contains(tag)).cloned().collect();
        orphaned_tags.sort_unstable();
        orphaned_tags.dedup();
        RulesNotice {
            sequence,
            revision: change.revision,
            added: visible(&change.added),
            removed: visible(&change.removed),
            cause: change.cause,
            effective_by: change.effective_by,
            orphaned_tags,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::FilterSpec;
    use super::*;
    use crate::access::TagRight;
    use crate::model::TagPattern;

    fn rules(tags: &[&str]) -> Vec<Rule> {
        let tag = |text: &&str| Some(*text).filter(|text| !text.is_empty()).map(Into::into);
        tags.iter().enumerate().map(|(id, text)| Rule { id: Some(id as u64), tag: tag(text) }).collect()
    }

    fn change() -> RulesChange {
        let (before, after) = (rules(&["cats", "cats.secret", "dogs", ""]), rules(&["", "birds"]));
        RulesChange::between(&before, &after, 7, RulesCause::Call, UnixMillis(0)).expect("a change")
    }

    fn tags(rules: &[Rule]) -> Vec<&str> {
        rules.iter().map(|rule| rule.tag.as_deref().unwrap_or("")).collect()
    }

    #[test]
    fn exact_tags_without_rule_are_orphaned() {
        let check = |any_of: &[&str], all_of: &[&str], none_of: &[&str], expected: &[&str]| {
            let texts = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
            let spec =
                FilterSpec { any_of: texts(any_of), all_of: texts(all_of), none_of: texts(none_of), rule_ids: vec![2] };
            let notice = Filter::new(&spec).expect("a filter").rules_notice(9, &change());
            let orphaned: Vec<&str> = notice.orphaned_tags.iter().map(|tag| &**tag).collect();
            assert_eq!((notice.sequence, orphaned.as_slice()), (9, expected));
            assert_eq!((tags(&notice.added), notice.removed.len()), (vec!["", "birds"], 4));
        };
        check(&["dogs", "cats", "birds", "dogs"], &[], &[], &["cats", "dogs"]);
        check(&["*"], &["dogs"], &[], &["dogs"]);
        check(&["cats*", "other"], &[], &["dogs"], &[]);
    }

    #[test]
    fn rules_beyond_right_are_left_out() {
        let right = |untagged| {
            TagRight::new(vec![TagPattern::parse("cats*")], vec![TagPattern::parse("cats.secret")], untagged)
        };
        for (untagged, added, removed) in [(false, vec![], vec!["cats"]), (true, vec![""], vec!["cats", ""])] {
            let right = right(untagged).map(Arc::new);
            let (filter, _) = Filter::within(&FilterSpec::default(), right).expect("a filter");
            let notice = filter.rules_notice(9, &change());
            assert_eq!((tags(&notice.added), tags(&notice.removed)), (added, removed));
        }
    }
}
