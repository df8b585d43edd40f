//! Times of upstream messages.

use crate::model::UnixMillis;

/// An RFC 3339 time, as X's recovery messages have them.
pub(super) fn time(text: &str) -> Option<UnixMillis> {
    text.parse::<jiff::Timestamp>().ok().map(|time| UnixMillis(time.as_millisecond()))
}
