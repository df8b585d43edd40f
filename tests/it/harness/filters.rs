//! Filters and their matches, computed from the API documentation independently of the gateway.

use powerstream_gateway::model::Rule;
use powerstream_gateway::proto::TagFilter;

use super::record;

/// Everything.
pub fn all() -> TagFilter {
    TagFilter::default()
}

/// A tag of one of these.
pub fn any(terms: &[&str]) -> TagFilter {
    TagFilter { any_of: terms.iter().map(ToString::to_string).collect(), ..all() }
}

/// A tag of one of these, and none of those.
pub fn any_but(terms: &[&str], but: &[&str]) -> TagFilter {
    TagFilter { none_of: but.iter().map(ToString::to_string).collect(), ..any(terms) }
}

/// A tag for each of these.
pub fn every(terms: &[&str]) -> TagFilter {
    TagFilter { all_of: terms.iter().map(ToString::to_string).collect(), ..all() }
}

/// One of these rules.
pub fn rules(ids: &[u64]) -> TagFilter {
    TagFilter { rule_ids: ids.to_vec(), ..all() }
}

/// True if a post under these rules is for a session with this filter.
pub fn takes(filter: &TagFilter, rules: &[Rule]) -> bool {
    record::filter(filter).takes(&record::rules(rules))
}

#[test]
fn oracle_reads_filters_like_api() {
    let rule = |id, tag: Option<&str>| Rule { id: Some(id), tag: tag.map(Into::into) };
    let post = [rule(1, Some("cats")), rule(2, Some("news/jp")), rule(3, None)];
    let check = |filter: TagFilter, expected| assert_eq!(takes(&filter, &post), expected, "{filter:?}");
    check(all(), true);
    check(any(&["cats"]), true);
    check(any(&["cat"]), false);
    check(any(&["cat*"]), true);
    check(any(&["*"]), true);
    check(any_but(&["cats"], &["news*"]), false);
    check(every(&["cats", "news*"]), true);
    check(every(&["cats", "dogs"]), false);
    check(rules(&[3]), true);
    check(rules(&[4]), false);
    check(TagFilter { rule_ids: vec![3], ..any(&["dogs"]) }, true);
    assert!(!takes(&any(&["*"]), &[rule(1, None)]), "a star is any tag, not no tag");
    assert!(takes(&all(), &[]));
}
