use std::collections::HashSet;

use serde_json::Value;

use super::text_tokens::tokens;

/// What rules look at in a post.
#[derive(Debug, Default)]
pub(in crate::simulator) struct PostAttributes {
    /// Tokens of each text: the post's own, in full, and the quoted one's.
    pub(super) texts: Vec<Vec<String>>,
    /// All tokens, for a fast check of keywords.
    pub(super) words: HashSet<String>,
    /// All texts in lower case.
    pub(super) lower: String,
    pub(super) author: Vec<String>,
    pub(super) reply_to: Vec<String>,
    pub(super) retweet_of: Vec<String>,
    pub(super) retweeted_id: Option<String>,
    pub(super) replied_id: Option<String>,
    pub(super) lang: Option<String>,
    pub(super) mentions: HashSet<String>,
    pub(super) hashtags: HashSet<String>,
    pub(super) symbols: bool,
    pub(super) urls: String,
    pub(super) media: bool,
    pub(super) images: bool,
    pub(super) videos: bool,
    pub(super) geo: bool,
    pub(super) reply: bool,
    pub(super) quote: bool,
    /// Longitude, latitude.
    pub(super) point: Option<(f64, f64)>,
    pub(super) place: Vec<String>,
    pub(super) bio: Vec<String>,
    pub(super) bio_name: Vec<String>,
}

impl PostAttributes {
    pub(in crate::simulator) fn of(post: &Value) -> Self {
        let mut subject = Self::default();
        let retweeted = object(post, "retweeted_status");
        let quoted = object(post, "quoted_status").or_else(|| object(retweeted?, "quoted_status"));
        // A retweet's own text is cut; the whole of it is inside.
        let main = retweeted.unwrap_or(post);
        for part in [Some(main), quoted].into_iter().flatten() {
            subject.take_text(part);
            subject.take_entities(part);
        }
        subject.take_mentions(object(post, "entities"));
        subject.author = account(post.get("user"));
        subject.bio = tokens(text(post.get("user"), "description"));
        subject.bio_name = tokens(text(post.get("user"), "name"));
        subject.reply_to = names(post, "in_reply_to_screen_name", "in_reply_to_user_id_str");
        subject.retweet_of = account(retweeted.and_then(|inner| inner.get("user")));
        subject.retweeted_id = retweeted.map(|inner| text(Some(inner), "id_str").to_owned());
        subject.replied_id = post.get("in_reply_to_status_id_str").and_then(Value::as_str).map(str::to_owned);
        subject.reply = [Some(post), retweeted, quoted].into_iter().flatten().any(is_reply);
        subject.quote = quoted.is_some();
        subject.lang = post.get("lang").and_then(Value::as_str).map(str::to_lowercase);
        if retweeted.is_none() {
            subject.take_place(post);
        }
        subject
    }

    fn take_text(&mut self, post: &Value) {
        let extended = object(post, "extended_tweet");
        let full = [text(extended, "full_text"), text(Some(post), "full_text"), text(Some(post), "text")];
        let full = full.into_iter().find(|text| !text.is_empty()).unwrap_or("");
        let tokens = tokens(full);
        self.words.extend(tokens.iter().cloned());
        self.texts.push(tokens);
        self.lower.push_str(&full.to_lowercase());
        self.lower.push('\n');
    }

    fn take_entities(&mut self, post: &Value) {
        for part in [Some(post), object(post, "extended_tweet")].into_iter().flatten() {
            let entities = object(part, "entities");
            self.take_mentions(entities);
            self.hashtags.extend(list(entities, "hashtags").map(|tag| text(Some(tag), "text").to_lowercase()));
            self.symbols |= list(entities, "symbols").next().is_some();
            for url in list(entities, "urls") {
                for key in ["url", "expanded_url", "display_url"] {
                    self.urls.push_str(&text(Some(url), key).to_lowercase());
                    self.urls.push('\n');
                }
            }
            for media in list(object(part, "extended_entities").or(entities), "media") {
                self.media = true;
                self.images |= text(Some(media), "type") == "photo";
                self.videos |= matches!(text(Some(media), "type"), "video" | "animated_gif");
            }
        }
    }

    fn take_mentions(&mut self, entities: Option<&Value>) {
        for mention in list(entities, "user_mentions") {
            self.mentions.extend(account(Some(mention)));
        }
    }

    fn take_place(&mut self, post: &Value) {
        let at = |n: usize| post.get("coordinates")?.get("coordinates")?.get(n)?.as_f64();
        self.point = at(0).zip(at(1));
        let place = object(post, "place");
        self.place = ["id", "name", "full_name"].map(|key| text(place, key).to_lowercase()).into();
        self.geo = self.point.is_some() || place.is_some();
    }
}

fn object<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|value| value.is_object())
}

fn text<'a>(value: Option<&'a Value>, key: &str) -> &'a str {
    value.and_then(|value| value.get(key)).and_then(Value::as_str).unwrap_or("")
}

fn list<'a>(value: Option<&'a Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    value.and_then(|value| value.get(key)).and_then(Value::as_array).into_iter().flatten()
}

/// By both names that a rule may use: the screen name in lower case, and the id.
fn account(user: Option<&Value>) -> Vec<String> {
    user.map(|user| names(user, "screen_name", "id_str")).unwrap_or_default()
}

fn names(value: &Value, name: &str, id: &str) -> Vec<String> {
    let names = [text(Some(value), name).to_lowercase(), text(Some(value), id).to_owned()];
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

fn is_reply(post: &Value) -> bool {
    ["in_reply_to_status_id", "in_reply_to_user_id"].iter().any(|key| post.get(key).is_some_and(|id| !id.is_null()))
}
