//! The fields of a payload that rules read. Everything may be missing or null.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// A string, borrowed where it has no escapes; numbers are taken in digits, so that ids keep their precision.
#[derive(Clone, Debug, Default)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string or a whole number")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(text.into()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(text.to_owned().into()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Text(number.to_string().into()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Text(number.to_string().into()))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PostObject<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    pub(super) id_str: Option<Text<'a>>,
    pub(super) text: Option<Text<'a>>,
    pub(super) full_text: Option<Text<'a>>,
    pub(super) lang: Option<Text<'a>>,
    pub(super) source: Option<Text<'a>>,
    pub(super) user: Option<UserObject<'a>>,
    pub(super) entities: Option<Entities<'a>>,
    pub(super) extended_entities: Option<Entities<'a>>,
    pub(super) extended_tweet: Option<Extended<'a>>,
    pub(super) retweeted_status: Option<Box<PostObject<'a>>>,
    pub(super) quoted_status: Option<Box<PostObject<'a>>>,
    pub(super) is_quote_status: Option<bool>,
    pub(super) in_reply_to_status_id: Option<Text<'a>>,
    pub(super) in_reply_to_status_id_str: Option<Text<'a>>,
    pub(super) in_reply_to_user_id: Option<Text<'a>>,
    pub(super) in_reply_to_user_id_str: Option<Text<'a>>,
    pub(super) in_reply_to_screen_name: Option<Text<'a>>,
    pub(super) coordinates: Option<PointObject>,
    pub(super) place: Option<PlaceObject<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct UserObject<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    pub(super) id_str: Option<Text<'a>>,
    pub(super) screen_name: Option<Text<'a>>,
    pub(super) name: Option<Text<'a>>,
    pub(super) description: Option<Text<'a>>,
    pub(super) location: Option<Text<'a>>,
    pub(super) verified: Option<bool>,
    pub(super) followers_count: Option<i64>,
    pub(super) friends_count: Option<i64>,
    pub(super) statuses_count: Option<i64>,
    pub(super) listed_count: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Extended<'a> {
    #[serde(borrow)]
    pub(super) full_text: Option<Text<'a>>,
    pub(super) entities: Option<Entities<'a>>,
    pub(super) extended_entities: Option<Entities<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Entities<'a> {
    #[serde(borrow)]
    pub(super) hashtags: Option<Vec<Tag<'a>>>,
    pub(super) symbols: Option<Vec<Tag<'a>>>,
    pub(super) user_mentions: Option<Vec<Mention<'a>>>,
    pub(super) urls: Option<Vec<UrlObject<'a>>>,
    pub(super) media: Option<Vec<Media<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Tag<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Mention<'a> {
    #[serde(borrow)]
    pub(super) screen_name: Option<Text<'a>>,
    pub(super) id: Option<Text<'a>>,
    pub(super) id_str: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct UrlObject<'a> {
    #[serde(borrow)]
    pub(super) url: Option<Text<'a>>,
    pub(super) expanded_url: Option<Text<'a>>,
    pub(super) display_url: Option<Text<'a>>,
    pub(super) unwound: Option<Unwound<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Unwound<'a> {
    #[serde(borrow)]
    pub(super) url: Option<Text<'a>>,
    pub(super) title: Option<Text<'a>>,
    pub(super) description: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Media<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PointObject {
    pub(super) coordinates: Option<Vec<f64>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PlaceObject<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    pub(super) name: Option<Text<'a>>,
    pub(super) full_name: Option<Text<'a>>,
    pub(super) country: Option<Text<'a>>,
    pub(super) country_code: Option<Text<'a>>,
    pub(super) bounding_box: Option<Polygon>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Polygon {
    pub(super) coordinates: Option<Vec<Vec<Vec<f64>>>>,
}
