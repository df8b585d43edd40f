use super::attributes::PostAttributes;
use super::parser::{Expr, Feature, Operator, PostKind};

/// Kilometres of a degree of latitude.
const DEGREE_KM: f64 = 111.195;

impl Expr {
    pub(super) fn matches(&self, post: &PostAttributes) -> bool {
        match self {
            Self::Any(branches) => branches.iter().any(|branch| branch.matches(post)),
            Self::All(parts) => parts.iter().all(|part| part.matches(post)),
            Self::Not(inner) => !inner.matches(post),
            Self::Is(term) => term.matches(post),
        }
    }
}

impl Operator {
    fn matches(&self, post: &PostAttributes) -> bool {
        match self {
            Self::Words(words) => {
                words.iter().all(|word| post.words.contains(word))
                    && (words.len() == 1 || post.texts.iter().any(|text| stand_in(words, text)))
            }
            Self::Hashtag(tag) => post.hashtags.contains(tag),
            Self::Mention(name) => post.mentions.contains(name),
            Self::From(name) => post.author.contains(name),
            Self::To(name) => post.reply_to.contains(name),
            Self::RetweetsOf(name) => post.retweet_of.contains(name),
            Self::RetweetsOfStatus(id) => post.retweeted_id.as_ref() == Some(id),
            Self::InReplyToStatus(id) => post.replied_id.as_ref() == Some(id),
            Self::Contains(text) => post.lower.contains(text),
            Self::UrlContains(text) => post.urls.contains(text),
            Self::Lang(code) => post.lang.as_ref() == Some(code),
            Self::Has(feature) => post.has(*feature),
            Self::Is(kind) => post.is(*kind),
            Self::Place(name) => post.place.contains(name),
            Self::Bio(words) => stand_in(words, &post.bio),
            Self::BioName(words) => stand_in(words, &post.bio_name),
            Self::Box([west, south, east, north]) => {
                post.point.is_some_and(|(x, y)| (*west..=*east).contains(&x) && (*south..=*north).contains(&y))
            }
            Self::Near(longitude, latitude, kilometres) => {
                post.point.is_some_and(|point| distance_km(point, (*longitude, *latitude)) <= *kilometres)
            }
        }
    }
}

impl PostAttributes {
    fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::Mentions => !self.mentions.is_empty(),
            Feature::Geo => self.geo,
            Feature::Links => !self.urls.is_empty() || self.media,
            Feature::Media => self.media,
            Feature::Lang => self.lang.as_deref().is_some_and(|lang| lang != "und"),
            Feature::Symbols => self.symbols,
            Feature::Images => self.images,
            Feature::Videos => self.videos,
            Feature::Hashtags => !self.hashtags.is_empty(),
        }
    }

    fn is(&self, kind: PostKind) -> bool {
        match kind {
            PostKind::Retweet => self.retweeted_id.is_some(),
            PostKind::Reply => self.reply,
            PostKind::Quote => self.quote,
        }
    }
}

fn stand_in(words: &[String], text: &[String]) -> bool {
    words.is_empty() || text.windows(words.len()).any(|window| window == words)
}

/// Good enough for the radii that rules allow (25 miles): the earth is flat there.
fn distance_km(a: (f64, f64), b: (f64, f64)) -> f64 {
    let north = (a.1 - b.1) * DEGREE_KM;
    let east = (a.0 - b.0) * DEGREE_KM * b.1.to_radians().cos();
    north.hypot(east)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parser::parse;
    use super::*;

    fn check(post: &serde_json::Value, rule: &str, expected: bool) {
        let expr = parse(rule).expect(rule);
        assert_eq!(expr.matches(&PostAttributes::of(post)), expected, "{rule}");
    }

    #[test]
    fn rules_look_at_text_author_and_entities() {
        let post = json!({
            "id_str": "10", "text": "My CAT's tail, 猫カフェ & https://t.co/x", "lang": "en",
            "user": {"screen_name": "Ada", "id_str": "7", "description": "Data Scientist, retired", "name": "Ada PhD"},
            "in_reply_to_status_id": 9, "in_reply_to_status_id_str": "9", "in_reply_to_screen_name": "Bob",
            "entities": {
                "urls": [{"url": "https://t.co/x", "expanded_url": "https://News.example/a"}],
                "hashtags": [{"text": "CatLife"}], "user_mentions": [{"screen_name": "Bob", "id_str": "8"}],
            },
            "coordinates": {"coordinates": [-0.11, 51.5]}, "place": {"id": "abc", "full_name": "Lower Marsh"},
        });
        for rule in [
            "cat",
            "CAT tail",
            "\"cat's tail\"",
            "猫",
            "カフェ",
            "from:ada",
            "from:7",
            "to:@bob",
            "lang:EN",
            "has:links",
            "has:geo",
            "has:mentions",
            "has:hashtags",
            "is:reply",
            "@BOB",
            "#catlife",
            "contains:\"at's t\"",
            "cat -dog",
            "dog OR (cat lang:en)",
            "url_contains:news.example",
            "bio:\"data scientist\"",
            "bio_name:phd",
            "place:\"lower marsh\"",
            "bounding_box:[-1 51 0 52]",
            "point_radius:[-0.1 51.5 2km]",
            "in_reply_to_status_id:9",
            "-(dog OR bird) cat",
            "has:lang",
        ] {
            check(&post, rule, true);
        }
        for rule in [
            "ca",
            "\"tail cat\"",
            "dog",
            "cat -lang:en",
            "from:adam",
            "is:retweet",
            "has:media",
            "is:quote",
            "カ猫",
            "point_radius:[10 51.5 25mi]",
            "cat (dog OR bird)",
            "retweets_of:ada",
            "has:symbols",
        ] {
            check(&post, rule, false);
        }
    }

    #[test]
    fn rules_look_into_extended_retweeted_and_quoted_posts() {
        let post = json!({
            "text": "RT @eve: cut…", "user": {"screen_name": "ada"}, "lang": "en", "coordinates": null,
            "entities": {"user_mentions": [{"screen_name": "eve"}]},
            "retweeted_status": {
                "id_str": "5", "text": "cut…", "user": {"screen_name": "Eve"}, "place": {"id": "p"},
                "extended_tweet": {
                    "full_text": "the whole of it with a walrus",
                    "entities": {"urls": [{"url": "https://t.co/y"}]},
                    "extended_entities": {"media": [{"type": "video"}]},
                },
                "quoted_status": {"text": "a quoted otter", "user": {"screen_name": "zed"}},
            },
        });
        for rule in [
            "walrus",
            "otter",
            "is:retweet",
            "retweets_of:eve",
            "has:videos",
            "has:links",
            "is:quote",
            "@eve",
            "retweets_of_status_id:5",
        ] {
            check(&post, rule, true);
        }
        for rule in ["from:eve", "has:images", "has:geo", "\"walrus a\"", "is:reply"] {
            check(&post, rule, false);
        }
    }
}
