use proptest::prelude::*;

use super::*;

/// Tags around the borders of prefixes.
const TAGS: [&str; 8] = ["n", "news", "news.", "news.a", "news.b", "newsx", "m", "*"];
const PATTERNS: [&str; 10] = ["*", "n*", "news*", "news.*", "news", "news.a", "newsx", "m", "z*", r"\*"];

fn patterns() -> impl Strategy<Value = Vec<TagPattern>> {
    prop::collection::vec(prop::sample::select(&PATTERNS[..]).prop_map(TagPattern::parse), 0..4)
}

fn right() -> impl Strategy<Value = (Vec<TagPattern>, Vec<TagPattern>, bool)> {
    (patterns(), patterns(), any::<bool>())
}

fn rules(numbers: &[usize]) -> Vec<Rule> {
    let tag = |n: &usize| TAGS.get(*n).map(|tag| (*tag).into());
    numbers.iter().map(|n| Rule { id: Some(*n as u64), tag: tag(n) }).collect()
}

proptest! {
    #[test]
    fn visibility_is_that_of_reference(
        (allow, deny, untagged) in right(),
        numbers in prop::collection::vec(0..TAGS.len() + 1, 0..4),
    ) {
        let post = rules(&numbers);
        let matches = |patterns: &[TagPattern], tag: &str| patterns.iter().any(|own| own.matches_tag(tag));
        let own: Vec<&str> = post.iter().filter_map(|rule| rule.tag()).map(|tag| &**tag).collect();
        let expected = if own.is_empty() {
            untagged
        } else {
            own.iter().any(|tag| matches(&allow, tag)) && !own.iter().any(|tag| matches(&deny, tag))
        };
        let is_visible = match TagRight::new(allow, deny, untagged) {
            Some(right) => right.is_visible(&post),
            None => true,
        };
        prop_assert_eq!(is_visible, expected);
    }

    #[test]
    fn visible_posts_have_keys((allow, deny, untagged) in right(), numbers in prop::collection::vec(0..9_usize, 0..4)) {
        let post = rules(&numbers);
        let mut set = crate::model::KeySet::default();
        set.add(&post);
        if let Some(right) = TagRight::new(allow, deny, untagged) {
            prop_assert!(!right.is_visible(&post) || set.may_match(&right.keys()));
        }
    }

    /// If nothing of a pattern is visible, no tag that matches it is; if all of it is, each is.
    #[test]
    fn visibility_of_pattern_holds_for_its_tags(
        (allow, deny, untagged) in right(),
        pattern in prop::sample::select(&PATTERNS[..]).prop_map(TagPattern::parse),
    ) {
        let Some(right) = TagRight::new(allow, deny, untagged) else { return Ok(()) };
        for tag in TAGS.iter().filter(|tag| pattern.matches_tag(tag)) {
            match right.visibility(&pattern) {
                PatternVisibility::Full => prop_assert!(right.is_tag_visible(tag), "{tag}"),
                PatternVisibility::None => prop_assert!(!right.is_tag_visible(tag), "{tag}"),
                PatternVisibility::Partial => {}
            }
        }
    }

    #[test]
    fn intersection_of_patterns_is_that_of_tags(
        one in prop::sample::select(&PATTERNS[..]).prop_map(TagPattern::parse),
        other in prop::sample::select(&PATTERNS[..]).prop_map(TagPattern::parse),
        tag in prop::sample::select(&TAGS[..]),
    ) {
        let both = one.matches_tag(tag) && other.matches_tag(tag);
        prop_assert_eq!(one.intersection(&other).is_some_and(|part| part.matches_tag(tag)), both);
    }

    #[test]
    fn equal_rights_are_equal_values((allow, deny, untagged) in right()) {
        let (mut other, mut same) = (allow.clone(), deny.clone());
        other.reverse();
        other.extend(allow.clone());
        same.reverse();
        let (one, other) = (TagRight::new(allow, deny, untagged), TagRight::new(other, same, untagged));
        prop_assert_eq!(one.as_ref().map(TagRight::fingerprint), other.as_ref().map(TagRight::fingerprint));
        prop_assert_eq!(one, other);
    }
}

#[test]
fn right_without_visible_post_is_empty() {
    let right = |allow: &[&str], deny: &[&str], untagged| {
        let parse = |texts: &[&str]| texts.iter().map(|text| TagPattern::parse(text)).collect();
        TagRight::new(parse(allow), parse(deny), untagged).is_some_and(|right| right.is_empty())
    };
    for (allow, deny, untagged, is_empty) in [
        (&[][..], &[][..], false, true),
        (&[], &[], true, false),
        (&["news.*"], &["news.*"], false, true),
        (&["news.a"], &["n*"], false, true),
        (&["news.*"], &["news.a"], false, false),
        (&["*"], &["*"], true, false),
    ] {
        assert_eq!(right(allow, deny, untagged), is_empty, "{allow:?} {deny:?} {untagged}");
    }
}
