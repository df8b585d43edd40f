use std::collections::HashSet;

use serde_json::Value;

use super::area::Location;
use super::characters::{decoded, normal_form};
use super::text_tokens::tokens;

/// What rules look at in a post. Texts are in normal form.
#[derive(Debug, Default)]
pub(in crate::simulator) struct PostAttributes {
    /// Texts that keywords and phrases look into: the post's own, the quoted post's, and each URL.
    pub(super) texts: Vec<TextTokens>,
    /// All tokens of the texts, for a fast check of keywords.
    pub(super) words: HashSet<String>,
    /// The post's own text.
    pub(super) own: String,
    pub(super) author: Vec<String>,
    pub(super) reply_to: Vec<String>,
    pub(super) retweet_of: Vec<String>,
    pub(super) retweeted_id: Option<String>,
    pub(super) replied_id: Option<String>,
    pub(super) lang: Option<String>,
    pub(super) mentions: HashSet<String>,
    pub(super) symbols: bool,
    /// Each address in each form, the short one too.
    pub(super) urls: Vec<String>,
    pub(super) links: bool,
    pub(super) media: bool,
    pub(super) images: bool,
    pub(super) videos: bool,
    pub(super) geo: bool,
    pub(super) retweet: bool,
    pub(super) reply: bool,
    pub(super) location: Location,
    pub(super) place_id: Option<String>,
    /// Tokens of each name of the place.
    pub(super) place_names: Vec<Vec<String>>,
    pub(super) bio: Vec<String>,
    pub(super) bio_name: Vec<String>,
}

/// A text and its tokens.
#[derive(Debug)]
pub(super) struct TextTokens {
    pub(super) normal: String,
    pub(super) tokens: Vec<String>,
}

impl PostAttributes {
    pub(in crate::simulator) fn of(post: &Value) -> Self {
        let mut attributes = Self::default();
        let retweeted = object(post, "retweeted_status");
        let quoted = object(post, "quoted_status").or_else(|| object(retweeted?, "quoted_status"));
        attributes.own = normal_form(&decoded(&own_text(post, retweeted)));
        attributes.take_text(attributes.own.clone());
        if let Some(quoted) = quoted {
            attributes.take_text(normal_form(&decoded(full_text(quoted))));
        }
        let own_parts = parts(&[Some(post), retweeted]);
        let quoted_parts = parts(&[quoted]);
        attributes.take_entities(&own_parts);
        attributes.take_entities(&quoted_parts);
        attributes.take_media(&own_parts, &quoted_parts);
        attributes.links = !attributes.urls.is_empty()
            || attributes.media
            || quoted.is_some()
            || post.get("is_quote_status").and_then(Value::as_bool).unwrap_or_default();
        attributes.author = account(post.get("user"));
        attributes.bio = tokens_of(post.get("user"), "description");
        attributes.bio_name = tokens_of(post.get("user"), "name");
        attributes.reply_to = names(post, "in_reply_to_screen_name", "in_reply_to_user_id_str");
        attributes.retweet = retweeted.is_some();
        attributes.retweet_of = account(retweeted.and_then(|inner| inner.get("user")));
        attributes.retweeted_id = retweeted.map(|inner| text(Some(inner), "id_str").to_owned());
        attributes.replied_id = post.get("in_reply_to_status_id_str").and_then(Value::as_str).map(str::to_owned);
        attributes.reply = [Some(post), retweeted, quoted].into_iter().flatten().any(is_reply);
        attributes.lang = post.get("lang").and_then(Value::as_str).map(str::to_ascii_lowercase);
        if retweeted.is_none() {
            attributes.take_place(post);
        }
        attributes
    }

    fn take_text(&mut self, normal: String) {
        let tokens = tokens(&normal);
        self.words.extend(tokens.iter().cloned());
        self.texts.push(TextTokens { normal, tokens });
    }

    fn take_entities(&mut self, parts: &[&Value]) {
        for entities in parts.iter().filter_map(|part| object(part, "entities")) {
            for mention in list(entities, "user_mentions") {
                self.mentions.extend(account(Some(mention)));
            }
            self.symbols |= list(entities, "symbols").next().is_some();
            for url in list(entities, "urls") {
                let unwound = text(url.get("unwound"), "url");
                let long = [text(Some(url), "expanded_url"), text(Some(url), "display_url"), unwound];
                let long: Vec<_> = long.into_iter().filter(|url| !url.is_empty()).map(normal_form).collect();
                long.iter().for_each(|url| self.take_text(url.clone()));
                self.urls.extend(long);
                self.urls.push(normal_form(text(Some(url), "url")));
            }
        }
    }

    /// Whether there are media looks into the quoted post too, their type does not.
    fn take_media(&mut self, own: &[&Value], quoted: &[&Value]) {
        let own = media(own);
        self.media = !own.is_empty() || !media(quoted).is_empty();
        self.images = own.iter().any(|media| text(Some(media), "type") == "photo");
        self.videos = own.iter().any(|media| text(Some(media), "type") == "video");
    }

    fn take_place(&mut self, post: &Value) {
        let place = object(post, "place");
        self.location = Location::of(post);
        self.geo = place.is_some() || object(post, "coordinates").is_some();
        self.place_id = place.map(|place| text(Some(place), "id").to_lowercase());
        self.place_names = ["full_name", "name", "country"].map(|key| tokens_of(place, key)).into();
    }
}

/// The text as the author wrote it. The root of a retweet is cut, the post inside is whole.
fn own_text(post: &Value, retweeted: Option<&Value>) -> String {
    match retweeted {
        Some(inner) => format!("RT @{}: {}", text(inner.get("user"), "screen_name"), full_text(inner)),
        None => full_text(post).to_owned(),
    }
}

fn full_text(post: &Value) -> &str {
    let extended = text(object(post, "extended_tweet"), "full_text");
    let texts = [extended, text(Some(post), "full_text"), text(Some(post), "text")];
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or("")
}

/// These posts and their extended parts.
fn parts<'a>(posts: &[Option<&'a Value>]) -> Vec<&'a Value> {
    posts.iter().flatten().flat_map(|post| [Some(*post), object(post, "extended_tweet")]).flatten().collect()
}

/// Extended entities name the true types; the plain ones call a video a photo.
fn media<'a>(parts: &[&'a Value]) -> Vec<&'a Value> {
    let of = |key: &str| -> Vec<&Value> {
        parts.iter().filter_map(|part| object(part, key)).flat_map(|entities| list(entities, "media")).collect()
    };
    let extended = of("extended_entities");
    if extended.is_empty() { of("entities") } else { extended }
}

fn object<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|value| value.is_object())
}

fn text<'a>(value: Option<&'a Value>, key: &str) -> &'a str {
    value.and_then(|value| value.get(key)).and_then(Value::as_str).unwrap_or("")
}

fn tokens_of(value: Option<&Value>, key: &str) -> Vec<String> {
    tokens(&normal_form(&decoded(text(value, key))))
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// By both names that a rule may use: the screen name in lower case, and the id.
fn account(user: Option<&Value>) -> Vec<String> {
    user.map(|user| names(user, "screen_name", "id_str")).unwrap_or_default()
}

fn names(value: &Value, name: &str, id: &str) -> Vec<String> {
    let names = [text(Some(value), name).to_ascii_lowercase(), text(Some(value), id).to_owned()];
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

fn is_reply(post: &Value) -> bool {
    let keys = ["status_id", "status_id_str", "user_id", "user_id_str", "screen_name"];
    keys.iter().any(|key| post.get(format!("in_reply_to_{key}")).is_some_and(|id| !id.is_null()))
}
