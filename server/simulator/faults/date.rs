use serde::{Deserialize, Serialize};

use crate::model::UnixMillis;

/// The `Date` header of answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DateHeader {
    /// X's time.
    #[default]
    Right,
    /// So many seconds later than X's time, or earlier: a lie, for ids and windows keep to X's time.
    OffBySeconds(i64),
    /// None.
    Absent,
    /// This text, date or not.
    Text(String),
}

impl DateHeader {
    /// The header's text at this time.
    pub(in crate::simulator) fn text(&self, now: UnixMillis) -> Option<String> {
        let at = |ms: i64| {
            let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
        };
        match self {
            Self::Right => Some(at(now.0)),
            Self::OffBySeconds(seconds) => Some(at(now.0.saturating_add(seconds.saturating_mul(1_000)))),
            Self::Absent => None,
            Self::Text(text) => Some(text.clone()),
        }
    }
}
