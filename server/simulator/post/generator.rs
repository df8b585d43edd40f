use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::corpus::{EMOJI, HASHTAGS, Language, PLACES, SOURCES, SUBJECTS, TONGUES};
use super::json::JsonWriter;
use super::post_json::{self, MediaKind, PostDraft, PostText, SimulatedUser};
use super::snowflake::GeneratedId;
use crate::model::PostId;

/// Accounts that post; the first ones post most.
const USERS: u32 = 400;
/// Characters beyond which a post is truncated and has an `extended_tweet` (classic posts).
const CLASSIC_CHARS: usize = 140;

/// Draws posts from a seed.
#[derive(Debug)]
pub(in crate::simulator) struct Generator(StdRng);

impl Generator {
    pub(in crate::simulator) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A place among so many, for the datacenter of the next post.
    pub(in crate::simulator) fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound.max(1))
    }

    /// The next post, under this id, without `matching_rules`.
    pub(in crate::simulator) fn draw(&mut self, minted: GeneratedId) -> String {
        let mut draft = self.original(minted.id, minted.created.0);
        match self.percent() {
            0..25 => {
                let earlier = self.earlier(&draft);
                let inner = if self.chance(10) { self.with_quote(earlier) } else { earlier };
                draft = post_json::retweet_of(inner, draft);
            }
            25..35 => draft = self.with_quote(draft),
            35..50 => draft.reply_to = Some((self.id_before(minted.id), self.user())),
            _ => {}
        }
        let mut writer = JsonWriter::new(self.chance(70));
        writer.item(|w| post_json::post(w, &draft, true));
        writer.finish()
    }

    /// A small post without id and time, to be filled in.
    pub(in crate::simulator) fn sketch(&mut self) -> String {
        let language = self.language();
        let (text, user) = (self.text(language).full, self.user());
        let mut writer = JsonWriter::new(self.chance(70));
        writer.item(|w| {
            w.string("text", &text);
            w.object("user", |w| {
                w.raw("id", user.id());
                w.string("id_str", &user.id().to_string());
                w.string("screen_name", &user.screen_name());
            });
            w.string("lang", language.code);
        });
        writer.finish()
    }

    fn original(&mut self, id: PostId, created_ms: i64) -> PostDraft {
        let language = self.language();
        PostDraft {
            id,
            created_ms,
            user: self.user(),
            lang: language.code,
            text: self.text(language),
            media: None,
            place: self.chance(4).then(|| self.pick(&PLACES)),
            source: self.pick(&SOURCES),
            counts: (0, 0),
            reply_to: None,
            retweeted: None,
            quoted: None,
        }
        .with_media(self.media())
    }

    fn with_quote(&mut self, mut draft: PostDraft) -> PostDraft {
        draft.quoted = Some(Box::new(self.earlier(&draft)));
        draft
    }

    /// A post of the hours before, which by now has been seen.
    fn earlier(&mut self, than: &PostDraft) -> PostDraft {
        let id = self.id_before(than.id);
        let created = id.created_at().map_or(0, |time| time.0);
        let mut draft = self.original(id, created);
        draft.counts = (self.0.random_range(0..5_000), self.0.random_range(0..20_000));
        draft
    }

    /// The id of something up to a day older.
    fn id_before(&mut self, id: PostId) -> PostId {
        let age_ms: u64 = self.0.random_range(1_000..86_400_000);
        PostId(id.0.saturating_sub(age_ms << 22))
    }

    fn text(&mut self, language: &Language) -> PostText {
        let subject = self.0.random_range(0..SUBJECTS);
        let mut text = PostText::default();
        let sentences = if self.chance(15) { self.0.random_range(3..7) } else { 1 };
        for _ in 0..sentences {
            text.push(&self.pick(language.sentences).replace("{}", language.subjects[subject]));
        }
        if self.chance(20) {
            text.push(EMOJI[subject]);
        }
        if self.chance(25) {
            text.hashtag(HASHTAGS[subject]);
        }
        if self.chance(20) {
            text.mention(self.user());
        }
        if self.chance(30) {
            let code = self.code();
            text.link(&code);
        }
        text.cut(CLASSIC_CHARS);
        text
    }

    fn media(&mut self) -> Option<(MediaKind, String)> {
        let kind = match self.percent() {
            0..12 => MediaKind::Photo,
            12..16 => MediaKind::Video,
            16..18 => MediaKind::Gif,
            _ => return None,
        };
        Some((kind, self.code()))
    }

    fn language(&mut self) -> &'static Language {
        let mut point = self.percent();
        for language in TONGUES {
            if point < language.share {
                return language;
            }
            point -= language.share;
        }
        &TONGUES[0]
    }

    /// The square makes low numbers frequent: a few accounts post most.
    fn user(&mut self) -> SimulatedUser {
        let share: f64 = self.0.random();
        SimulatedUser((share * share * f64::from(USERS)) as u32)
    }

    /// The tail of a shortened link.
    fn code(&mut self) -> String {
        (0..10).map(|_| char::from(self.0.sample(rand::distr::Alphanumeric))).collect()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.random_range(0..from.len())]
    }

    fn percent(&mut self) -> u32 {
        self.0.random_range(0..100)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.percent() < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixMillis;

    fn posts(seed: u64, count: usize) -> Vec<String> {
        let mut generator = Generator::new(seed);
        let snowflakes = super::super::Snowflakes::default();
        (0..count)
            .map(|n| generator.draw(snowflakes.mint(UnixMillis(1_760_000_000_000 + n as i64 * 37), n % 2)))
            .collect()
    }

    #[test]
    fn same_seed_draws_same_posts() {
        assert_eq!(posts(7, 200), posts(7, 200));
        assert_ne!(posts(7, 200), posts(8, 200));
    }

    #[test]
    fn posts_have_all_kinds_and_realistic_size() {
        let posts = posts(1, 2_000);
        let parsed: Vec<serde_json::Value> =
            posts.iter().map(|json| serde_json::from_str(json).expect("valid JSON")).collect();
        let share = |what: &str, test: &dyn Fn(&serde_json::Value) -> bool, least: usize| {
            let count = parsed.iter().filter(|post| test(post)).count();
            assert!(count >= least && count < parsed.len(), "{what}: {count}");
        };
        share("retweets", &|post| post["retweeted_status"].is_object(), 400);
        share("quotes", &|post| post["quoted_status"].is_object(), 150);
        share("replies", &|post| post["in_reply_to_status_id"].is_u64(), 150);
        share("extended", &|post| post["extended_tweet"]["full_text"].is_string(), 60);
        share("links", &|post| !post["entities"]["urls"].as_array().is_none_or(Vec::is_empty), 200);
        share("media", &|post| post["extended_entities"]["media"].is_array(), 150);
        share("geo", &|post| post["coordinates"].is_object(), 20);
        share("japanese", &|post| post["lang"] == "ja", 150);
        share("arabic", &|post| post["lang"] == "ar", 60);
        let escaped = posts.iter().filter(|json| json.contains("\\u") && json.is_ascii()).count();
        assert!(escaped > 500 && posts.iter().any(|json| !json.is_ascii()), "{escaped}");
        let mut sizes: Vec<_> = posts.iter().map(String::len).collect();
        sizes.sort_unstable();
        assert!((2_000..6_000).contains(&sizes[1_000]) && sizes[1_999] < 30_000, "{} {}", sizes[1_000], sizes[1_999]);
    }

    #[test]
    fn post_fields_agree_on_id_and_time() {
        for post in posts(3, 100) {
            let post: serde_json::Value = serde_json::from_str(&post).expect("valid JSON");
            let id = post["id"].as_u64().expect("an id");
            assert_eq!(post["id_str"], id.to_string());
            let created = PostId(id).created_at().expect("a snowflake");
            assert_eq!(post["timestamp_ms"], created.0.to_string());
            assert_eq!(post["created_at"], post_json::created_at(created.0));
        }
    }
}
