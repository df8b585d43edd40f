//! Reads a payload.

use super::payload::{Entities, PostObject, Text};
use super::{Facts, Place, Url, User, media, payload};
use crate::query::operator::{CountField, Feature, PostKind};
use crate::query::settings::CjkTokens;
use crate::query::text::normal;
use crate::query::text::tokens::TokenText;

/// A payload that is no post in X's native format.
#[derive(Debug, thiserror::Error)]
#[error("payload is not a post in native format: {0}")]
pub struct UnreadablePost(#[from] serde_json::Error);

impl Facts {
    /// Reads a payload in X's native format. Unknown fields are skipped.
    pub fn read(json: &[u8], cjk: CjkTokens) -> Result<Self, UnreadablePost> {
        let post: PostObject<'_> = serde_json::from_slice(json)?;
        Ok(PayloadReader { cjk }.facts(&post))
    }
}

struct PayloadReader {
    cjk: CjkTokens,
}

impl PayloadReader {
    fn facts(&self, post: &PostObject<'_>) -> Facts {
        let retweeted = post.retweeted_status.as_deref();
        let quoted = post.quoted_status.as_deref().or_else(|| retweeted?.quoted_status.as_deref());
        let user = post.user.as_ref();
        let mut facts = Facts {
            id: digits(&post.id_str, &post.id),
            own_text: self.tokens(&own_text_of_post(post)),
            quoted_text: quoted.map(|quoted| self.tokens(&own_text(quoted))),
            author: user.map(user_of).unwrap_or_default(),
            reply_to: User {
                name: lower(&post.in_reply_to_screen_name),
                id: digits(&post.in_reply_to_user_id_str, &post.in_reply_to_user_id),
            },
            reply_to_id: digits(&post.in_reply_to_status_id_str, &post.in_reply_to_status_id),
            retweet_of: retweeted.and_then(|retweeted| retweeted.user.as_ref()).map(user_of).unwrap_or_default(),
            retweeted_id: retweeted.and_then(|retweeted| digits(&retweeted.id_str, &retweeted.id)),
            lang: lower(&post.lang),
            source: post.source.as_ref().map(|source| link_parts(&source.0)).unwrap_or_default(),
            counts: user.map(counts).unwrap_or_default(),
            ..Facts::default()
        };
        if let Some(user) = user {
            facts.bio = self.decoded(&user.description);
            facts.bio_name = self.decoded(&user.name);
            facts.bio_location = self.decoded(&user.location);
        }
        for source in [Some(post), retweeted, quoted].into_iter().flatten() {
            let extended = source.extended_tweet.as_ref().and_then(|extended| extended.entities.as_ref());
            for entities in [source.entities.as_ref(), extended].into_iter().flatten() {
                self.entities(entities, &mut facts);
            }
        }
        if retweeted.is_none() {
            facts.point = post.coordinates.as_ref().and_then(|point| pair(point.coordinates.as_deref()?));
            facts.place = post.place.as_ref().map(|place| self.place(place));
        }
        facts.features = features(post, retweeted, quoted, &facts);
        facts.kinds = kinds(post, retweeted, quoted);
        facts
    }

    /// Tokens of a text of a post.
    fn tokens(&self, text: &str) -> TokenText {
        TokenText::new(normal::of(text), self.cjk)
    }

    fn optional(&self, text: &Option<Text<'_>>) -> Option<TokenText> {
        text.as_ref().map(|text| self.tokens(&text.0))
    }

    /// Tokens of a text that may contain HTML entities.
    fn decoded(&self, text: &Option<Text<'_>>) -> TokenText {
        text.as_ref().map(|text| self.tokens(&normal::decode_entities(&text.0))).unwrap_or_default()
    }

    fn entities(&self, entities: &Entities<'_>, facts: &mut Facts) {
        let tags = |tags: &Option<Vec<payload::Tag<'_>>>| -> Vec<String> {
            tags.iter().flatten().filter_map(|tag| lower(&tag.text)).collect()
        };
        facts.hashtags.extend(tags(&entities.hashtags));
        facts.cashtags.extend(tags(&entities.symbols));
        facts.mentions.extend(
            entities
                .user_mentions
                .iter()
                .flatten()
                .map(|mention| User { name: lower(&mention.screen_name), id: digits(&mention.id_str, &mention.id) }),
        );
        facts.urls.extend(entities.urls.iter().flatten().map(|url| {
            let unwound = url.unwound.as_ref();
            Url {
                short: lower(&url.url),
                expanded: self.optional(&url.expanded_url),
                display: self.optional(&url.display_url),
                unwound: unwound.and_then(|unwound| self.optional(&unwound.url)),
                title: unwound.and_then(|unwound| self.optional(&unwound.title)),
                description: unwound.and_then(|unwound| self.optional(&unwound.description)),
            }
        }));
    }

    fn place(&self, place: &payload::PlaceObject<'_>) -> Place {
        let polygon = place.bounding_box.as_ref().and_then(|polygon| polygon.coordinates.as_deref());
        Place {
            id: lower(&place.id),
            names: [&place.name, &place.full_name, &place.country]
                .into_iter()
                .filter_map(|name| self.optional(name))
                .collect(),
            country_code: lower(&place.country_code),
            corners: polygon.into_iter().flatten().flatten().filter_map(|corner| pair(corner)).collect(),
        }
    }
}

/// Text of a post without its cut form: a retweet is the retweeted text after `RT @name: `.
fn own_text_of_post(post: &PostObject<'_>) -> String {
    let Some(retweeted) = post.retweeted_status.as_deref() else { return own_text(post) };
    let name = retweeted.user.as_ref().and_then(|user| user.screen_name.as_ref()).map_or("", |name| &name.0);
    format!("RT @{name}: {}", own_text(retweeted))
}

fn own_text(post: &PostObject<'_>) -> String {
    let extended = post.extended_tweet.as_ref().and_then(|extended| extended.full_text.as_ref());
    let text = extended.or(post.full_text.as_ref()).or(post.text.as_ref());
    text.map(|text| normal::decode_entities(&text.0).into_owned()).unwrap_or_default()
}

fn lower(text: &Option<Text<'_>>) -> Option<String> {
    text.as_ref().map(|text| normal::of(&text.0))
}

fn digits(text: &Option<Text<'_>>, number: &Option<Text<'_>>) -> Option<String> {
    text.as_ref().or(number.as_ref()).map(|id| id.0.to_string())
}

fn user_of(user: &payload::UserObject<'_>) -> User {
    User { name: lower(&user.screen_name), id: digits(&user.id_str, &user.id) }
}

fn counts(user: &payload::UserObject<'_>) -> Vec<(CountField, u64)> {
    let counts = [
        (CountField::Followers, user.followers_count),
        (CountField::Friends, user.friends_count),
        (CountField::Statuses, user.statuses_count),
        (CountField::Listed, user.listed_count),
    ];
    counts.into_iter().filter_map(|(field, count)| Some((field, u64::try_from(count?).ok()?))).collect()
}

fn pair(numbers: &[f64]) -> Option<(f64, f64)> {
    match numbers {
        [longitude, latitude, ..] => Some((*longitude, *latitude)),
        _ => None,
    }
}

/// Text and address of `<a href="...">text</a>`; another text as it is.
fn link_parts(source: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let text = match source.split_once('>') {
        Some((tag, rest)) if tag.starts_with('<') => {
            let href = tag.split_once("href=\"").and_then(|(_, href)| href.split_once('"'));
            parts.extend(href.map(|(href, _)| normal::of(&normal::decode_entities(href))));
            rest.split_once("</").map_or(rest, |(text, _)| text)
        }
        _ => source,
    };
    parts.push(normal::of(&normal::decode_entities(text)));
    parts
}

fn is_reply(post: &PostObject<'_>) -> bool {
    post.in_reply_to_status_id.is_some()
        || post.in_reply_to_status_id_str.is_some()
        || post.in_reply_to_user_id.is_some()
        || post.in_reply_to_user_id_str.is_some()
        || post.in_reply_to_screen_name.is_some()
}

fn kinds(post: &PostObject<'_>, retweeted: Option<&PostObject<'_>>, quoted: Option<&PostObject<'_>>) -> Vec<PostKind> {
    let is_verified = post.user.as_ref().is_some_and(|user| user.verified == Some(true));
    let kinds = [
        (PostKind::Retweet, retweeted.is_some()),
        (PostKind::Reply, [Some(post), retweeted, quoted].into_iter().flatten().any(is_reply)),
        (PostKind::Quote, post.is_quote_status == Some(true)),
        (PostKind::Verified, is_verified),
    ];
    kinds.into_iter().filter(|(_, is)| *is).map(|(kind, _)| kind).collect()
}

fn features(
    post: &PostObject<'_>,
    retweeted: Option<&PostObject<'_>>,
    quoted: Option<&PostObject<'_>>,
    facts: &Facts,
) -> Vec<Feature> {
    let own: Vec<_> = [Some(post), retweeted].into_iter().flatten().map(media::of).collect();
    let has_kind = |kind| own.iter().any(|media| media::has_kind(media, kind));
    let has_media =
        own.iter().any(|media| !media.is_empty()) || quoted.is_some_and(|quoted| !media::of(quoted).is_empty());
    let is_quote = post.is_quote_status == Some(true);
    let has_geo = retweeted.is_none() && (post.coordinates.is_some() || post.place.is_some());
    let features = [
        (Feature::Mentions, !facts.mentions.is_empty()),
        (Feature::Links, !facts.urls.is_empty() || has_media || is_quote),
        (Feature::Media, has_media),
        (Feature::Images, has_kind("photo")),
        (Feature::Videos, has_kind("video")),
        (Feature::Symbols, !facts.cashtags.is_empty()),
        (Feature::Hashtags, !facts.hashtags.is_empty()),
        (Feature::Geo, has_geo),
        (Feature::Lang, facts.lang.as_deref().is_some_and(|lang| lang != "und")),
    ];
    features.into_iter().filter(|(_, has)| *has).map(|(feature, _)| feature).collect()
}
