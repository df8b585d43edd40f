use super::corpus::NAMES;
use super::json::JsonWriter;
use crate::model::PostId;

/// An account that posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SimulatedUser(pub(super) u32);

/// What is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaKind {
    Photo,
    Video,
    Gif,
}

/// Characters `[from, to)` of the text.
type CharRange = (usize, usize);

/// A text and what stands in it.
#[derive(Clone, Debug, Default)]
pub(super) struct PostText {
    pub(super) full: String,
    /// The beginning, where the text is longer than a classic post.
    pub(super) short: Option<String>,
    hashtags: Vec<(&'static str, CharRange)>,
    mentions: Vec<(SimulatedUser, CharRange)>,
    links: Vec<(String, CharRange)>,
}

/// A post before it is written.
#[derive(Clone, Debug)]
pub(super) struct PostDraft {
    pub(super) id: PostId,
    pub(super) created_ms: i64,
    pub(super) user: SimulatedUser,
    pub(super) lang: &'static str,
    pub(super) text: PostText,
    pub(super) media: Option<(MediaKind, String, CharRange)>,
    pub(super) place: Option<(&'static str, &'static str, &'static str, f64, f64)>,
    pub(super) source: &'static str,
    /// Retweets, favourites.
    pub(super) counts: (u32, u32),
    pub(super) reply_to: Option<(PostId, SimulatedUser)>,
    pub(super) retweeted: Option<Box<PostDraft>>,
    pub(super) quoted: Option<Box<PostDraft>>,
}

impl SimulatedUser {
    pub(super) fn id(self) -> u64 {
        1_100_000_000_000_000_000 + u64::from(self.0) * 7_919
    }

    pub(super) fn screen_name(self) -> String {
        let name = NAMES[self.0 as usize % NAMES.len()];
        match self.0 as usize / NAMES.len() {
            0 => format!("{name}_news"),
            n => format!("{name}_{n}"),
        }
    }
}

impl PostText {
    pub(super) fn push(&mut self, words: &str) -> CharRange {
        if !self.full.is_empty() {
            self.full.push(' ');
        }
        let from = self.full.chars().count();
        self.full.push_str(words);
        (from, from + words.chars().count())
    }

    pub(super) fn hashtag(&mut self, tag: &'static str) {
        let span = self.push(&format!("#{tag}"));
        self.hashtags.push((tag, span));
    }

    pub(super) fn mention(&mut self, user: SimulatedUser) {
        let span = self.push(&format!("@{}", user.screen_name()));
        self.mentions.push((user, span));
    }

    pub(super) fn link(&mut self, code: &str) {
        let span = self.push(&format!("https://t.co/{code}"));
        self.links.push((code.to_owned(), span));
    }

    /// Keeps a short form if the text has more characters than this.
    pub(super) fn cut(&mut self, chars_max: usize) {
        self.short = (self.full.chars().count() > chars_max).then(|| shortened(&self.full, chars_max));
    }
}

impl PostDraft {
    pub(super) fn with_media(mut self, media: Option<(MediaKind, String)>) -> Self {
        if let Some((kind, code)) = media {
            let span = self.text.push(&format!("https://t.co/{code}"));
            self.media = Some((kind, code, span));
        }
        self
    }
}

/// The retweet of a post: its text is cut, it is not `truncated`, and it has no place.
pub(super) fn retweet_of(inner: PostDraft, mut by: PostDraft) -> PostDraft {
    let mut text = PostText::default();
    text.push("RT");
    text.mention(inner.user);
    text.full.push(':');
    text.push(&inner.text.full);
    text.full = shortened(&text.full, 140);
    by.text = text;
    by.media = None;
    by.place = None;
    by.lang = inner.lang;
    by.quoted.clone_from(&inner.quoted);
    by.counts = inner.counts;
    by.retweeted = Some(Box::new(inner));
    by
}

/// X's form of a time: `Wed Oct 10 20:19:24 +0000 2018`.
pub(in crate::simulator) fn created_at(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%a %b %d %H:%M:%S +0000 %Y").to_string()
}

/// The members of a post; `live` adds members that only the root of a streamed post has.
pub(super) fn post(w: &mut JsonWriter, draft: &PostDraft, live: bool) {
    w.string("created_at", &created_at(draft.created_ms));
    w.raw("id", draft.id);
    w.string("id_str", &draft.id.to_string());
    w.string("text", draft.text.short.as_ref().unwrap_or(&draft.text.full));
    w.string("source", draft.source);
    w.raw("truncated", draft.text.short.is_some());
    reply(w, draft.reply_to);
    w.object("user", |w| user(w, draft.user));
    place(w, draft);
    w.raw("contributors", "null");
    nested(w, draft);
    w.raw("quote_count", 0);
    w.raw("reply_count", draft.counts.0 / 7);
    w.raw("retweet_count", draft.counts.0);
    w.raw("favorite_count", draft.counts.1);
    if draft.text.short.is_some() {
        w.object("extended_tweet", |w| {
            w.string("full_text", &draft.text.full);
            w.array("display_text_range", |w| {
                w.number(0);
                w.number(draft.text.full.chars().count());
            });
            media_and_entities(w, draft);
        });
        w.object("entities", |w| entities(w, &PostText::default(), None));
    } else {
        media_and_entities(w, draft);
    }
    w.raw("favorited", false);
    w.raw("retweeted", false);
    if draft.media.is_some() || !draft.text.links.is_empty() {
        w.raw("possibly_sensitive", false);
    }
    w.string("filter_level", "low");
    w.string("lang", draft.lang);
    if live {
        w.string("timestamp_ms", &draft.created_ms.to_string());
    }
}

fn nested(w: &mut JsonWriter, draft: &PostDraft) {
    if let Some(retweeted) = &draft.retweeted {
        w.object("retweeted_status", |w| post(w, retweeted, false));
    }
    w.raw("is_quote_status", draft.quoted.is_some());
    if let Some(quoted) = &draft.quoted {
        w.raw("quoted_status_id", quoted.id);
        w.string("quoted_status_id_str", &quoted.id.to_string());
        w.object("quoted_status", |w| post(w, quoted, false));
    }
}

fn reply(w: &mut JsonWriter, to: Option<(PostId, SimulatedUser)>) {
    let Some((id, user)) = to else {
        for key in ["status_id", "status_id_str", "user_id", "user_id_str", "screen_name"] {
            w.raw(&format!("in_reply_to_{key}"), "null");
        }
        return;
    };
    w.raw("in_reply_to_status_id", id);
    w.string("in_reply_to_status_id_str", &id.to_string());
    w.raw("in_reply_to_user_id", user.id());
    w.string("in_reply_to_user_id_str", &user.id().to_string());
    w.string("in_reply_to_screen_name", &user.screen_name());
}

fn user(w: &mut JsonWriter, user: SimulatedUser) {
    let (id, name, seen) = (user.id(), user.screen_name(), user.0);
    w.raw("id", id);
    w.string("id_str", &id.to_string());
    w.string("name", &format!("{} {}", name.replace('_', " "), if seen % 3 == 0 { "✨" } else { "of the river" }));
    w.string("screen_name", &name);
    w.maybe("location", (seen % 2 == 0).then_some("Lower Marsh / 北沢"));
    w.maybe("url", (seen % 5 == 0).then_some("https://river.example/about"));
    w.maybe("description", (seen % 4 != 0).then_some("Writes about soup, trains & the weather. \"No\" to <html>. ☔"));
    w.string("translator_type", "none");
    for key in ["protected", "verified", "contributors_enabled", "is_translator", "profile_background_tile"] {
        w.raw(key, false);
    }
    w.raw("followers_count", u64::from(seen) * 37 % 90_001);
    w.raw("friends_count", u64::from(seen) * 11 % 5_003);
    w.raw("listed_count", seen % 40);
    w.raw("favourites_count", u64::from(seen) * 301 % 77_777);
    w.raw("statuses_count", u64::from(seen) * 997 % 250_007);
    w.string("created_at", &created_at(1_300_000_000_000 + i64::from(seen) * 86_400_000));
    for key in ["utc_offset", "time_zone", "lang", "following", "follow_request_sent", "notifications"] {
        w.raw(key, "null");
    }
    w.raw("geo_enabled", seen % 2 == 0);
    for (key, colour) in [
        ("profile_background_color", "F5F8FA"),
        ("profile_link_color", "1DA1F2"),
        ("profile_sidebar_border_color", "C0DEED"),
        ("profile_sidebar_fill_color", "DDEEF6"),
        ("profile_text_color", "333333"),
    ] {
        w.string(key, colour);
    }
    for key in ["profile_use_background_image", "default_profile", "default_profile_image"] {
        w.raw(key, seen % 3 == 1);
    }
    w.string("profile_background_image_url", "http://images.example/themes/theme1/bg.png");
    w.string("profile_background_image_url_https", "https://images.example/themes/theme1/bg.png");
    w.string("profile_image_url", &format!("http://images.example/profile_images/{id}/normal.jpg"));
    w.string("profile_image_url_https", &format!("https://images.example/profile_images/{id}/normal.jpg"));
}

fn place(w: &mut JsonWriter, draft: &PostDraft) {
    let Some((name, code, country, longitude, latitude)) = draft.place else {
        for key in ["geo", "coordinates", "place"] {
            w.raw(key, "null");
        }
        return;
    };
    point(w, "geo", latitude, longitude);
    point(w, "coordinates", longitude, latitude);
    w.object("place", |w| {
        w.string("id", &format!("{:016x}", longitude.to_bits()));
        w.string("place_type", "neighborhood");
        w.string("name", name);
        w.string("full_name", &format!("{name}, {country}"));
        w.string("country_code", code);
        w.string("country", country);
        w.object("bounding_box", |w| {
            w.string("type", "Polygon");
            w.array("coordinates", |w| {
                w.row(|w| {
                    for (east, north) in [(-0.01, -0.01), (-0.01, 0.01), (0.01, 0.01), (0.01, -0.01)] {
                        w.row(|w| {
                            w.number(longitude + east);
                            w.number(latitude + north);
                        });
                    }
                });
            });
        });
        w.object("attributes", |_| {});
    });
}

fn point(w: &mut JsonWriter, key: &str, first: f64, second: f64) {
    w.object(key, |w| {
        w.string("type", "Point");
        w.array("coordinates", |w| {
            w.number(first);
            w.number(second);
        });
    });
}

fn media_and_entities(w: &mut JsonWriter, draft: &PostDraft) {
    w.object("entities", |w| entities(w, &draft.text, draft.media.as_ref()));
    if let Some(attached) = &draft.media {
        w.object("extended_entities", |w| w.array("media", |w| w.item(|w| media(w, attached, true))));
    }
}

fn entities(w: &mut JsonWriter, text: &PostText, attached: Option<&(MediaKind, String, CharRange)>) {
    w.array("hashtags", |w| {
        for (tag, span) in &text.hashtags {
            w.item(|w| {
                w.string("text", tag);
                indices(w, *span);
            });
        }
    });
    w.array("urls", |w| {
        for (code, span) in &text.links {
            w.item(|w| {
                w.string("url", &format!("https://t.co/{code}"));
                w.string("expanded_url", &format!("https://news.example/2026/{code}?a=1&b=2"));
                w.string("display_url", &format!("news.example/2026/{}…", &code[..4]));
                indices(w, *span);
            });
        }
    });
    w.array("user_mentions", |w| {
        for (user, span) in &text.mentions {
            w.item(|w| {
                w.string("screen_name", &user.screen_name());
                w.string("name", &user.screen_name().replace('_', " "));
                w.raw("id", user.id());
                w.string("id_str", &user.id().to_string());
                indices(w, *span);
            });
        }
    });
    w.array("symbols", |_| {});
    if let Some(attached) = attached {
        w.array("media", |w| w.item(|w| media(w, attached, false)));
    }
}

fn media(w: &mut JsonWriter, (kind, code, span): &(MediaKind, String, CharRange), extended: bool) {
    let id = u64::from(span.0 as u32) + 1_900_000_000_000_000_000;
    w.raw("id", id);
    w.string("id_str", &id.to_string());
    indices(w, *span);
    w.string("media_url", &format!("http://images.example/media/{code}.jpg"));
    w.string("media_url_https", &format!("https://images.example/media/{code}.jpg"));
    w.string("url", &format!("https://t.co/{code}"));
    w.string("display_url", &format!("pic.example/{code}"));
    w.string("expanded_url", &format!("https://x.example/i/status/{id}/photo/1"));
    let name = match (kind, extended) {
        (MediaKind::Photo, _) | (_, false) => "photo",
        (MediaKind::Video, true) => "video",
        (MediaKind::Gif, true) => "animated_gif",
    };
    w.string("type", name);
    w.object("sizes", |w| {
        for (size, width, resize) in [("thumb", 150, "crop"), ("small", 680, "fit"), ("large", 1200, "fit")] {
            w.object(size, |w| {
                w.raw("w", width);
                w.raw("h", width * 3 / 4);
                w.string("resize", resize);
            });
        }
    });
}

fn indices(w: &mut JsonWriter, (from, to): CharRange) {
    w.array("indices", |w| {
        w.number(from);
        w.number(to);
    });
}

fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}
