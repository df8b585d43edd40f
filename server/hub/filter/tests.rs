use super::*;

fn request(any_of: &[&str], all_of: &[&str], none_of: &[&str], rule_ids: &[u64]) -> FilterSpec {
    let own = |terms: &[&str]| terms.iter().map(ToString::to_string).collect();
    FilterSpec { any_of: own(any_of), all_of: own(all_of), none_of: own(none_of), rule_ids: rule_ids.to_vec() }
}

fn rules(tags: &[Option<&str>]) -> Vec<Rule> {
    let rule = |(at, tag): (usize, &Option<&str>)| Rule { id: Some(at as u64 + 1), tag: tag.map(Into::into) };
    tags.iter().enumerate().map(rule).collect()
}

fn check(request: FilterSpec, tags: &[Option<&str>], expected: bool) {
    let filter = Filter::new(&request).expect("a good filter");
    let rules = rules(tags);
    assert_eq!(filter.matches(&rules), expected, "{request:?} on {tags:?}");
    let mut set = crate::model::KeySet::default();
    set.add(&rules);
    assert!(!expected || set.may_match(filter.keys()), "keys are a necessary condition: {request:?} on {tags:?}");
}

#[test]
fn filter_matches_as_documented() {
    check(request(&[], &[], &[], &[]), &[], true);
    check(request(&[], &[], &[], &[]), &[None], true);
    check(request(&["*"], &[], &[], &[]), &[None], false);
    check(request(&["*"], &[], &[], &[]), &[Some("a")], true);
    check(request(&["a"], &[], &[], &[]), &[Some("b"), Some("a")], true);
    check(request(&["a"], &[], &[], &[]), &[Some("ab")], false);
    check(request(&["a*"], &[], &[], &[]), &[Some("ab")], true);
    check(request(&["a"], &[], &[], &[2]), &[Some("x"), None], true);
    check(request(&["a"], &[], &[], &[9]), &[Some("x"), None], false);
    check(request(&[], &["a", "b"], &[], &[]), &[Some("a"), Some("b")], true);
    check(request(&[], &["a", "b"], &[], &[]), &[Some("a")], false);
    check(request(&["a", "b"], &[], &["b"], &[]), &[Some("a"), Some("b")], false);
    check(request(&[], &[], &["b*"], &[]), &[Some("a")], true);
    check(request(&[], &[], &["b*"], &[]), &[Some("bc")], false);
    check(request(&[], &[], &["*"], &[]), &[None], true);
}

/// Every tag that X can send can be named: 255 characters of one to four bytes (fault 08).
#[test]
fn longest_tags_can_be_named() {
    for tag in ["x", "é", "猫", "😀", "*", "\\", ",", " "].map(|character| character.repeat(255)) {
        let term = if tag.ends_with('*') { format!("{}\\*", &tag[1..]) } else { tag.clone() };
        check(request(&[&term], &[], &[], &[]), &[Some(&tag)], true);
        check(request(&[], &[&term], &[], &[]), &[Some(&tag)], true);
        check(request(&[], &[], &[&term], &[]), &[Some(&tag)], false);
        check(request(&[&format!("{}*", tag.replace('\\', "\\\\"))], &[], &[], &[]), &[Some(&tag)], true);
    }
}

/// A trailing `*` makes a prefix unless it is escaped, whatever stands before it.
#[test]
fn escaped_star_is_part_of_tag() {
    for (term, expected) in [
        ("a", TagPattern::Exact("a".into())),
        ("a*", TagPattern::Prefix("a".into())),
        ("*", TagPattern::Prefix("".into())),
        ("a**", TagPattern::Prefix("a*".into())),
        (r"a\*", TagPattern::Exact("a*".into())),
        (r"\*", TagPattern::Exact("*".into())),
        (r"a\\*", TagPattern::Prefix(r"a\".into())),
        (r"a\\\*", TagPattern::Exact(r"a\*".into())),
        (r"a*\*", TagPattern::Exact("a**".into())),
        (r"a\", TagPattern::Exact(r"a\".into())),
        (r"\*a", TagPattern::Exact(r"\*a".into())),
    ] {
        assert_eq!(TagPattern::parse(term), expected, "{term}");
    }
    check(request(&[r"a\*"], &[], &[], &[]), &[Some("a*")], true);
    check(request(&[r"a\*"], &[], &[], &[]), &[Some("ab")], false);
}

/// An empty tag is no tag: in a post it matches no term, and a filter cannot name it.
#[test]
fn empty_tag_is_no_tag() {
    check(request(&["*"], &[], &[], &[]), &[Some("")], false);
    check(request(&[], &[], &["*"], &[]), &[Some("")], true);
    check(request(&[], &[], &[], &[]), &[Some("")], true);
    check(request(&["*"], &[], &[], &[]), &[Some(""), Some("a")], true);
}

#[test]
fn delta_matches_only_newly_matching_filters() {
    let filter = Filter::new(&request(&["b"], &[], &[], &[])).expect("good");
    let (prior, now) = (rules(&[Some("a")]), rules(&[Some("a"), Some("b")]));
    assert!(filter.matches_delta(&prior, &now));
    assert!(!filter.matches_delta(&now, &now));
}

#[test]
fn invalid_filters_are_rejected_with_field() {
    let refused = |request: FilterSpec, field: &str| {
        assert_eq!(Filter::new(&request).expect_err("refused").field, field, "{request:?}");
    };
    refused(request(&[], &["a"], &["a"], &[]), "filter.all_of[0]");
    refused(request(&["a", "ab"], &[], &["a*"], &[]), "filter.any_of");
    refused(request(&["a", ""], &[], &[], &[]), "filter.any_of[1]");
    refused(request(&[], &[], &[&"x".repeat(1_021)], &[]), "filter.none_of[0]");
    refused(request(&[], &[], &[&"x".repeat(1_020), &format!("{}*", "é".repeat(511))], &[]), "filter.none_of[1]");
    refused(request(&["x".repeat(1_000).as_str(); 263], &[], &[], &[]), "filter");
    refused(request(&[], &[], &[], &vec![1; 1_001]), "filter");
    Filter::new(&request(&["a"], &[], &["a"], &[5])).expect("rule 5 can still match");
    Filter::new(&request(&["a*"], &[], &["ab"], &[])).expect("a prefix is wider than a tag in it");
}

#[test]
fn fingerprint_ignores_order() {
    let print = |r: FilterSpec| Filter::new(&r).expect("good").fingerprint();
    assert_eq!(print(request(&["a", "b"], &[], &[], &[1, 2])), print(request(&["b", "a", "a"], &[], &[], &[2, 1])));
    assert_ne!(print(request(&["a"], &[], &[], &[])), print(request(&[], &["a"], &[], &[])));
}
