//! Isolation: a filter never selects a post that its caller may not see. The reference below works on plain strings and
//! shares no code with the product. `PROPTEST_CASES=1000000` plays a million cases.

use proptest::prelude::*;

use super::*;
use crate::access::TagRight;

const TAGS: [&str; 7] = ["a", "ab", "abc", "b", "ba", "c", "*"];
const TERMS: [&str; 9] = ["a", "ab", "abc", "a*", "ab*", "b*", "*", r"\*", "c"];

#[derive(Clone, Debug)]
struct TermLists {
    allow: Vec<&'static str>,
    deny: Vec<&'static str>,
    untagged: bool,
}

/// A post: numbers of rules, each with a tag or none.
type TagList = Vec<Option<&'static str>>;

fn fits(term: &str, tag: &str) -> bool {
    match term {
        r"\*" => tag == "*",
        _ => term.strip_suffix('*').map_or(tag == term, |start| tag.starts_with(start)),
    }
}

fn fits_any(terms: &[impl AsRef<str>], tag: &str) -> bool {
    terms.iter().any(|term| fits(term.as_ref(), tag))
}

fn may_see(right: &TermLists, post: &TagList) -> bool {
    let own: Vec<&str> = post.iter().copied().flatten().collect();
    match own.is_empty() {
        true => right.untagged,
        false => !own.iter().any(|tag| fits_any(&right.deny, tag)) && own.iter().any(|tag| fits_any(&right.allow, tag)),
    }
}

fn asks_for(filter: &FilterSpec, post: &TagList) -> bool {
    let own: Vec<&str> = post.iter().copied().flatten().collect();
    let by_tag = own.iter().any(|tag| fits_any(&filter.any_of, tag));
    let by_rule = filter.rule_ids.iter().any(|id| usize::try_from(*id).is_ok_and(|id| (1..=post.len()).contains(&id)));
    let is_chosen = (filter.any_of.is_empty() && filter.rule_ids.is_empty()) || by_tag || by_rule;
    is_chosen
        && filter.all_of.iter().all(|term| own.iter().any(|tag| fits(term, tag)))
        && !own.iter().any(|tag| fits_any(&filter.none_of, tag))
}

fn terms(max: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(&TERMS[..]), 0..max)
}

fn right() -> impl Strategy<Value = TermLists> {
    (terms(4), terms(3), any::<bool>()).prop_map(|(allow, deny, untagged)| TermLists { allow, deny, untagged })
}

fn filter() -> impl Strategy<Value = FilterSpec> {
    let own = |terms: Vec<&str>| terms.into_iter().map(String::from).collect::<Vec<_>>();
    (terms(3), terms(2), terms(2), prop::collection::vec(1..4_u64, 0..2)).prop_map(move |(any, all, none, rule_ids)| {
        FilterSpec { any_of: own(any), all_of: own(all), none_of: own(none), rule_ids }
    })
}

fn post() -> impl Strategy<Value = TagList> {
    prop::collection::vec(prop::option::weighted(0.8, prop::sample::select(&TAGS[..])), 0..4)
}

fn compiled(right: &TermLists) -> Option<Arc<TagRight>> {
    let parse = |terms: &[&str]| terms.iter().map(|term| TagPattern::parse(term)).collect();
    TagRight::new(parse(&right.allow), parse(&right.deny), right.untagged).map(Arc::new)
}

fn rules(post: &TagList) -> Vec<Rule> {
    let rule = |(n, tag): (usize, &Option<&str>)| Rule { id: Some(n as u64 + 1), tag: tag.map(Into::into) };
    post.iter().enumerate().map(rule).collect()
}

/// Cases of the property at least; `PROPTEST_CASES` plays more.
const CASES: u32 = 20_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(CASES), ..ProptestConfig::default() })]

    #[test]
    fn delivered_is_visible_and_requested(
        right in right(),
        other in right(),
        asked in filter(),
        prior in post(),
        more in post(),
    ) {
        // X adds rules to a post: those of before stay.
        let now: TagList = prior.iter().chain(&more).copied().collect();
        let (before, after) = (rules(&prior), rules(&now));
        let made = Filter::within(&asked, compiled(&right));
        let Ok((filter, narrowed)) = made else {
            // What is refused could not have delivered a tag that the caller may see and that the term names.
            if let Err(FilterError::Denied(denied)) = made {
                for tag in TAGS.iter().filter(|tag| fits(&denied.tag, tag)) {
                    prop_assert!(!fits_any(&right.allow, tag) || fits_any(&right.deny, tag), "{denied:?} {tag}");
                }
            }
            return Ok(());
        };
        let wanted = |post: &TagList| may_see(&right, post) && asks_for(&asked, post);
        prop_assert_eq!(filter.matches(&before), wanted(&prior));
        prop_assert_eq!(filter.matches(&after), wanted(&now));
        prop_assert_eq!(filter.matches_delta(&before, &after), wanted(&now) && !wanted(&prior));
        let mut keys = crate::model::KeySet::default();
        keys.add(&after);
        prop_assert!(!filter.matches(&after) || keys.may_match(filter.keys()), "the index finds every match");
        for tag in TAGS {
            let is_visible = fits_any(&right.allow, tag) && !fits_any(&right.deny, tag);
            prop_assert_eq!(filter.is_tag_visible(tag), is_visible || compiled(&right).is_none(), "{}", tag);
        }
        if compiled(&right).is_none() {
            prop_assert!(narrowed.is_empty());
        }
        // Sessions share reads if and only if their filters are equal: never across different rights.
        if let Ok((others, _)) = Filter::within(&asked, compiled(&other)) {
            let is_shared = filter == others;
            prop_assert_eq!(is_shared, compiled(&right) == compiled(&other));
            prop_assert!(!is_shared || filter.fingerprint() == others.fingerprint());
            if is_shared {
                prop_assert_eq!(may_see(&right, &now), may_see(&other, &now));
            }
        }
    }
}

#[test]
fn filters_beyond_right_are_refused_or_narrowed() {
    let right = compiled(&TermLists { allow: vec!["a", "b*"], deny: vec!["ba"], untagged: false });
    let within = |any_of: &[&str], all_of: &[&str], none_of: &[&str], rule_ids: &[u64]| {
        let own = |terms: &[&str]| terms.iter().map(ToString::to_string).collect();
        let (any_of, all_of, none_of) = (own(any_of), own(all_of), own(none_of));
        let asked = FilterSpec { any_of, all_of, none_of, rule_ids: rule_ids.to_vec() };
        Filter::within(&asked, right.clone()).map(|(_, narrowed)| narrowed).map_err(|error| error.to_string())
    };
    let denied = |field: &str, tag: &str| {
        Err(format!(
            "{field}: tag {tag:?} is not readable for this caller; remove it from the filter, or ask the owner for the right"
        ))
    };
    assert_eq!(within(&[], &[], &[], &[]), Ok(vec![]), "an empty filter is everything visible");
    assert_eq!(within(&["a", "bx"], &["a"], &["z", "ba"], &[]), Ok(vec![]));
    assert_eq!(within(&["a", "c"], &[], &[], &[]), denied("filter.any_of[1]", "c"));
    assert_eq!(within(&[], &["ba"], &[], &[]), denied("filter.all_of[0]", "ba"));
    assert_eq!(within(&["c*"], &[], &[], &[]), denied("filter.any_of[0]", "c*"));
    assert_eq!(within(&["ba*"], &[], &[], &[]), Ok(vec!["ba*".into()]), "all but one");
    assert_eq!(within(&["*"], &[], &[], &[1]), Ok(vec!["*".into(), "rule_ids".into()]));
    assert_eq!(within(&["bb*"], &[], &[], &[]), Ok(vec![]));
}
