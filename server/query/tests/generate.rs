//! Generators of rules and posts over one small vocabulary, so that rules match often.

use proptest::prelude::*;
use serde_json::json;

use crate::query::operator::{CountField, Feature, PostKind, TextField};
use crate::query::tree::{BoundingBox, Node, NodeKind, PointRadius, RuleTerm, Unit};

const WORDS: &[&str] =
    &["tea", "Cake", "señal", "猫", "東京", "rock", "the", "2016", "ada", "or2", "ab", "İ", "ΣΑΣ", "ไทย"];
const PIECES: &[&str] = &[
    "(",
    ")",
    "-",
    "--",
    " ",
    "  ",
    " OR ",
    "OR",
    " or ",
    "AND",
    "and",
    "NOT ",
    "\"",
    "\"\"",
    "\\",
    "\\\"",
    ":",
    "~",
    "~3",
    "[",
    "]",
    "[1 2 3 4]",
    "'",
    "\u{201c}",
    "\u{201d}",
    "\0",
    "\u{a0}",
    "\u{200b}",
    "\u{301}",
    "🐈",
    "👍🏽",
    "\u{200d}",
    "\u{fe0f}",
    "1\u{fe0f}\u{20e3}",
    "from:",
    "@",
    "#",
    "$",
    "lang:",
    "has:",
    "is:",
    "images",
    "retweet",
    "contains:",
    "bounding_box:",
    "point_radius:[1 2 3km]",
    "sample:10",
    "followers_count:1..2",
    "place:",
    "tea",
    "cake",
    "猫",
    "the",
    "ada",
    "en",
    "und",
    "12",
    "-2.5",
    "a-b",
    "a.b",
    "|",
    "&&",
    ",",
    "http://",
    "form:",
    "\n",
    "\t",
    "é",
    "\u{fb01}",
    "\u{1d15e}",
    "url:",
    "source:",
    "\u{2013}b",
];

/// Any text, texts of pieces of rules, and changed rules.
pub(super) fn text() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.concat());
    prop_oneof![
        1 => any::<String>(),
        6 => pieces,
        2 => (tree(), prop::sample::select(PIECES), any::<prop::sample::Index>()).prop_map(|(tree, piece, at)| {
            let rule = crate::query::print::print(&tree);
            let borders: Vec<_> = rule.char_indices().map(|(at, _)| at).collect();
            let at = borders[at.index(borders.len())];
            format!("{}{piece}{}", &rule[..at], &rule[at..])
        }),
    ]
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(WORDS).prop_map(str::to_owned)
}

fn phrase() -> impl Strategy<Value = String> {
    let joint = prop::sample::select(vec![" ", "-", "_", "  ", "\" ", "\\\"", "🐈", " &"]);
    let start = prop::sample::select(vec!["", "#", "$", "-", "("]);
    (start, word(), joint, word()).prop_map(|(start, left, joint, right)| format!("{start}{left}{joint}{right}"))
}

fn term() -> impl Strategy<Value = RuleTerm> {
    let text_field = prop::sample::select(TextField::ALL);
    let user = prop::sample::select(vec!["ada", "Bob_1", "7"]).prop_map(str::to_owned);
    let field = (text_field, user.clone(), phrase(), word()).prop_map(|(field, user, phrase, word)| {
        use crate::query::operator::Argument;
        let text = match field.argument() {
            Argument::User => user,
            Argument::PostId => "15".to_owned(),
            Argument::Substring => phrase,
            Argument::Words => word,
            Argument::Lang => "EN".to_owned(),
            Argument::Country => "gb".to_owned(),
        };
        RuleTerm::Field(field, text)
    });
    let side = (-80..80, 1..9)
        .prop_map(|(start, size)| (f64::from(start) / 3.0, f64::from(start) / 3.0 + f64::from(size) / 7.0));
    let area = (side.clone(), side)
        .prop_map(|((west, east), (south, north))| RuleTerm::BoundingBox(BoundingBox { west, south, east, north }));
    let circle = (-170..170, -80..80, 1..50, any::<bool>()).prop_map(|(longitude, latitude, radius, is_miles)| {
        RuleTerm::PointRadius(PointRadius {
            longitude: f64::from(longitude) / 3.0,
            latitude: f64::from(latitude) / 7.0,
            radius: f64::from(radius) / 2.0,
            unit: if is_miles { Unit::Miles } else { Unit::Kilometres },
        })
    });
    prop_oneof![
        6 => word().prop_map(RuleTerm::Keyword),
        1 => (word(), word()).prop_map(|(left, right)| RuleTerm::Keyword(format!("{left}-{right}"))),
        1 => prop::sample::select(vec!["🐈", "👍🏽"]).prop_map(|emoji| RuleTerm::Emoji(emoji.to_owned())),
        2 => phrase().prop_map(RuleTerm::Phrase),
        1 => (phrase(), 1..=6_u8).prop_map(|(text, distance)| RuleTerm::Proximity(text, distance)),
        1 => user.prop_map(RuleTerm::Mention),
        1 => word().prop_map(RuleTerm::Hashtag),
        1 => Just(RuleTerm::Cashtag("ABC.x".to_owned())),
        4 => field,
        1 => prop::sample::select(Feature::ALL).prop_map(RuleTerm::Has),
        1 => prop::sample::select(PostKind::ALL).prop_map(RuleTerm::Is),
        1 => area,
        1 => circle,
        1 => (prop::sample::select(CountField::ALL), 0..9_u64, prop::option::of(9..20_u64))
            .prop_map(|(field, least, most)| RuleTerm::Count(field, least, most)),
    ]
}

/// Trees of the dialect `gateway`.
pub(super) fn tree() -> impl Strategy<Value = Node> {
    let node = |kind| Node { span: 0..0, kind };
    let leaf = term().prop_map(move |term| node(NodeKind::Term(term)));
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let children = || prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            children().prop_map(move |sides| node(NodeKind::Or(sides))),
            children().prop_map(move |parts| node(NodeKind::And(parts))),
            inner.clone().prop_map(move |child| node(NodeKind::Not(Box::new(child)))),
        ]
    })
}

/// Posts over the vocabulary of the rules.
pub(super) fn post() -> impl Strategy<Value = String> {
    let text = prop::collection::vec(prop_oneof![word(), phrase()], 0..6).prop_map(|words| words.join(" "));
    let user = prop::sample::select(vec![("ada", "7"), ("Bob_1", "8")]);
    let point = prop::option::of((-20..20, -20..20));
    (text.clone(), text, user, any::<[bool; 6]>(), point).prop_map(
        |(text, other, (name, id), [is_retweet, is_quote, is_en, has_photo, has_tags, is_reply], point)| {
            let inner = json!({"id_str": "15", "text": other, "user": {"screen_name": "ada", "id_str": "7"}});
            let media = if has_photo { json!([{"type": "photo"}]) } else { json!([]) };
            let tag = &WORDS[text.len() % WORDS.len()];
            let tags = if has_tags { json!([{ "text": tag }]) } else { json!([]) };
            let post = json!({
                "id_str": "1500000000000000001", "text": text, "lang": if is_en { "en" } else { "ja" },
                "user": {"screen_name": name, "id_str": id, "followers_count": text.len(), "description": other},
                "entities": {"hashtags": tags, "media": media, "user_mentions": [{"screen_name": "ada"}]},
                "retweeted_status": if is_retweet { inner.clone() } else { json!(null) },
                "quoted_status": if is_quote { inner } else { json!(null) }, "is_quote_status": is_quote,
                "in_reply_to_status_id_str": if is_reply { json!("15") } else { json!(null) },
                "coordinates": point.map(|(x, y)| json!({"coordinates": [f64::from(x), f64::from(y)]})),
            });
            post.to_string()
        },
    )
}
