//! Names that are no operator, and what to write instead.

use super::table::{Feature, Operator, PostKind, find};

/// PowerTrack's second names.
const ALIASES: &[(&str, &str)] = &[
    ("retweets_of_user", "retweets_of"),
    ("retweets_of_tweet_id", "retweets_of_status_id"),
    ("in_reply_to_tweet_id", "in_reply_to_status_id"),
    ("user_bio", "bio"),
    ("geo_bounding_box", "bounding_box"),
    ("tweets_count", "statuses_count"),
    ("following_count", "friends_count"),
    ("user_in_lists_count", "listed_count"),
    ("user_bio_location", "bio_location"),
];

/// Second names of `has:` values.
const FEATURE_ALIASES: &[(&str, Feature)] = &[("media_link", Feature::Media), ("video_link", Feature::Videos)];

/// Names of PowerTrack 1.0 and of other products, with their successors.
const SUCCESSORS: &[(&str, &str)] = &[
    ("bio_contains", "bio"),
    ("bio_name_contains", "bio_name"),
    ("bio_location_contains", "bio_location"),
    ("twitter_lang", "lang"),
    ("place_contains", "place"),
    ("country_code", "place_country"),
    ("language", "lang"),
    ("author", "from"),
    ("user", "from"),
    ("by", "from"),
    ("retweet_of", "retweets_of"),
    ("in_reply_to", "in_reply_to_status_id"),
    ("reply_to", "to"),
    ("point", "point_radius"),
    ("url_text", "url_contains"),
];

/// Operators of X's web search and of the v2 endpoints, which streams never had, with advice.
const ELSEWHERE: &[(&str, &str)] = &[
    ("since", "a stream has only new posts: leave it out"),
    ("until", "a stream has only new posts: leave it out"),
    ("since_id", "a stream has only new posts: leave it out"),
    ("max_id", "a stream has only new posts: leave it out"),
    ("filter", "write has:links, has:media, has:images, has:videos, is:retweet or is:reply"),
    ("include", "retweets are part of the stream: leave it out"),
    ("exclude", "write -is:retweet or -is:reply"),
    ("min_faves", "a new post has no likes yet: leave it out and filter later"),
    ("min_retweets", "a new post has no retweets yet: leave it out and filter later"),
    ("min_replies", "a new post has no replies yet: leave it out and filter later"),
    ("min_followers", "it belongs to another product: leave it out and filter later"),
    ("near", "write point_radius:[longitude latitude 25mi]"),
    ("within", "write point_radius:[longitude latitude 25mi]"),
    ("geocode", "write point_radius:[longitude latitude 25mi]"),
    ("list", "write (from:a OR from:b ...)"),
    ("conversation_id", "it belongs to another product; in_reply_to_status_id: has direct replies"),
    ("context", "it belongs to another product: write the words themselves"),
    ("entity", "it belongs to another product: write the words themselves"),
    ("quotes_of", "it belongs to another product: leave it out"),
    ("http", "put the address into quotes, or use url_contains:\"...\""),
    ("https", "put the address into quotes, or use url_contains:\"...\""),
];

/// What comes nearest among the operators of Powerstream, for operators that X lists only for PowerTrack.
const NEAREST: &[(&str, &str)] = &[
    ("url", "url_contains:\"...\" finds a part of an address"),
    ("url_title", "url_contains:\"...\" finds a part of an address"),
    ("url_description", "url_contains:\"...\" finds a part of an address"),
    ("place_country", "place:\"Country name\" finds places by name"),
    ("bio_location", "bio:\"...\" finds words of the description"),
    ("followers_count", "filter by it after delivery"),
    ("friends_count", "filter by it after delivery"),
    ("statuses_count", "filter by it after delivery"),
    ("listed_count", "filter by it after delivery"),
    ("source", "filter by it after delivery"),
    ("sample", "take a sample after delivery"),
];

/// Returns the operator of which a name in lower case is PowerTrack's second name.
pub fn alias(name: &str) -> Option<Operator> {
    ALIASES.iter().find(|(alias, _)| *alias == name).and_then(|(_, main)| find(main))
}

/// Returns the feature of which a value in lower case is PowerTrack's second name.
pub fn feature_alias(value: &str) -> Option<Feature> {
    FEATURE_ALIASES.iter().find(|(alias, _)| *alias == value).map(|(_, feature)| *feature)
}

/// Returns advice for an operator that Powerstream does not have.
pub fn nearest(name: &str) -> Option<&'static str> {
    NEAREST.iter().find(|(other, _)| *other == name).map(|(_, advice)| *advice)
}

/// Returns advice for an operator of other products.
pub fn elsewhere(name: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(other, _)| *other == name).map(|(_, advice)| *advice)
}

/// Returns the operators that an unknown name in lower case may stand for, the most likely ones only. `accepts` leaves
/// out operators that are not available.
pub fn likely(name: &str, accepts: impl Fn(Operator) -> bool) -> Vec<&'static str> {
    let successor = ALIASES.iter().chain(SUCCESSORS).find(|(old, _)| *old == name).and_then(|(_, main)| find(main));
    if let Some(successor) = successor {
        return accepts(successor).then_some(successor.as_str()).into_iter().collect();
    }
    closest(name, Operator::all().filter(|operator| accepts(*operator)).map(Operator::as_str))
}

/// Returns the `has:` values that an unknown one may stand for.
pub fn likely_feature(value: &str) -> Vec<&'static str> {
    match feature_alias(value).or(match value {
        "image" | "photo" | "photos" | "picture" | "pictures" => Some(Feature::Images),
        "video" | "native_video" => Some(Feature::Videos),
        "url" | "urls" => Some(Feature::Links),
        "cashtags" | "cashtag" => Some(Feature::Symbols),
        _ => None,
    }) {
        Some(feature) => vec![feature.as_str()],
        None => closest(value, Feature::ALL.iter().map(|feature| feature.as_str())),
    }
}

/// Returns the `is:` values that an unknown one may stand for.
pub fn likely_kind(value: &str) -> Vec<&'static str> {
    match value {
        "rt" | "retweeted" => vec![PostKind::Retweet.as_str()],
        _ => closest(value, PostKind::ALL.iter().map(|kind| kind.as_str())),
    }
}

/// Maximum number of edits between a name and what it may stand for.
const EDITS_MAX: usize = 2;
/// Longest name that is compared: a little longer than any operator.
const NAME_CHARS_MAX: usize = 32;

fn closest(name: &str, among: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    if name.chars().take(NAME_CHARS_MAX + 1).count() > NAME_CHARS_MAX {
        return Vec::new();
    }
    let mut found: Vec<(usize, &str)> = among
        .map(|other| (strsim::osa_distance(name, other), other))
        // A name of two letters resembles every other one.
        .filter(|(edits, other)| *edits <= EDITS_MAX && edits * 2 < other.len().min(name.len()))
        .collect();
    let least = found.iter().map(|(edits, _)| *edits).min();
    found.retain(|(edits, _)| Some(*edits) == least);
    found.into_iter().map(|(_, other)| other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_meaning_and_spelling() {
        for (name, expected) in [
            ("form", &["from"][..]),
            ("lnag", &["lang"]),
            ("twitter_lang", &["lang"]),
            ("user_bio", &["bio"]),
            ("retweet_of", &["retweets_of"]),
            ("country_code", &[]),
            ("h", &[]),
            ("xyz", &[]),
        ] {
            assert_eq!(likely(name, Operator::is_listed), expected, "{name}");
        }
        assert_eq!(likely("country_code", |_| true), ["place_country"]);
        assert_eq!(likely_feature("image"), ["images"]);
        assert_eq!(likely_feature("polls"), [] as [&str; 0]);
        assert_eq!(likely_kind("retwet"), ["retweet"]);
    }

    #[test]
    fn successors_are_operators_and_others_are_not() {
        for (old, main) in ALIASES.iter().chain(SUCCESSORS) {
            assert!(find(main).is_some() && find(old).is_none(), "{old}");
        }
        assert!(ELSEWHERE.iter().all(|(name, _)| find(name).is_none() && alias(name).is_none()));
        assert!(NEAREST.iter().all(|(name, _)| find(name).is_some_and(|operator| !operator.is_listed())));
    }
}
