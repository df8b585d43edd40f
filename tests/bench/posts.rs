//! Invented posts for benchmarks, of the size and shape of the stream's.

use std::fmt::Write as _;

/// When the invented posts were made: 2023-11-14T22:13:20Z.
pub const T0: i64 = 1_700_000_000_000;

const SYLLABLES: [&str; 24] = [
    "ka", "lo", "mi", "ren", "tas", "vo", "ul", "ber", "shi", "no", "gra", "pel", "dun", "fi", "xo", "zer", "qua",
    "lin", "tor", "ja", "wes", "hym", "ost", "ic",
];

/// A small generator of numbers: the posts are the same at every run.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn word(&mut self) -> String {
        (0..1 + self.below(4)).map(|_| SYLLABLES[self.below(24) as usize]).collect()
    }

    fn text(&mut self, words: u64) -> String {
        (0..words).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }
}

/// A post of about 2.7 KB in the shape of the stream, invented.
pub fn json(numbers: &mut Numbers, id: u64) -> String {
    let mut out = String::with_capacity(3_000);
    let author = 1_000_000_000 + numbers.below(40_000_000_000);
    let words = 20 + numbers.below(25);
    let text = numbers.text(words);
    let _ = write!(
        out,
        r#"{{"created_at":"Tue Nov 14 22:13:20 +0000 2023","id":{id},"id_str":"{id}","text":"{text}","display_text_range":[0,{}],"source":"<a href=\"https://mobile.example.com\" rel=\"nofollow\">Example Web App</a>","truncated":false,"in_reply_to_status_id":null,"in_reply_to_status_id_str":null,"in_reply_to_user_id":null,"in_reply_to_user_id_str":null,"in_reply_to_screen_name":null,"#,
        text.len()
    );
    let (name, screen, place, about) = (numbers.text(2), numbers.word(), numbers.text(2), numbers.text(12));
    let _ = write!(
        out,
        r#""user":{{"id":{author},"id_str":"{author}","name":"{name}","screen_name":"{screen}{}","location":"{place}","url":null,"description":"{about}","translator_type":"none","protected":false,"verified":false,"followers_count":{},"friends_count":{},"listed_count":{},"favourites_count":{},"statuses_count":{},"created_at":"Mon Mar 0{} 11:{}:{} +0000 2013","utc_offset":null,"time_zone":null,"geo_enabled":false,"lang":null,"contributors_enabled":false,"is_translator":false,"profile_background_color":"C0DEED","profile_background_image_url":"http://img.example.com/themes/theme1/bg.png","profile_background_tile":false,"profile_link_color":"1DA1F2","profile_image_url_https":"https://img.example.com/profile_images/{}/{:x}_normal.jpg","profile_banner_url":"https://img.example.com/profile_banners/{author}/{}","default_profile":true,"default_profile_image":false}},"#,
        numbers.below(10_000),
        numbers.below(90_000),
        numbers.below(5_000),
        numbers.below(300),
        numbers.below(100_000),
        numbers.below(400_000),
        1 + numbers.below(9),
        10 + numbers.below(50),
        10 + numbers.below(50),
        numbers.next(),
        numbers.next(),
        numbers.next() >> 32,
    );
    let (tag, link) = (numbers.word(), numbers.next() >> 20);
    let _ = write!(
        out,
        r#""geo":null,"coordinates":null,"place":null,"contributors":null,"is_quote_status":false,"quote_count":{},"reply_count":{},"retweet_count":{},"favorite_count":{},"entities":{{"hashtags":[{{"text":"{tag}","indices":[10,18]}}],"urls":[{{"url":"https://t.example.com/{link:x}","expanded_url":"https://news.example.com/{}/{link}","display_url":"news.example.com/{tag}","indices":[90,113]}}],"user_mentions":[],"symbols":[]}},"favorited":false,"retweeted":false,"possibly_sensitive":false,"filter_level":"low","lang":"en","extended_entities":{{"media":[{{"id":{id},"id_str":"{id}","indices":[90,113],"media_url_https":"https://img.example.com/media/{:x}.jpg","type":"photo","sizes":{{"thumb":{{"w":150,"h":150,"resize":"crop"}},"medium":{{"w":1200,"h":675,"resize":"fit"}},"small":{{"w":680,"h":383,"resize":"fit"}},"large":{{"w":2048,"h":1152,"resize":"fit"}}}}}}]}},"timestamp_ms":"{}"}}"#,
        numbers.below(50),
        numbers.below(50),
        numbers.below(500),
        numbers.below(900),
        numbers.text(3).replace(' ', "-"),
        numbers.next(),
        T0 + (id >> 22) as i64,
    );
    out
}
