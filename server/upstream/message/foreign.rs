//! Messages in other formats than the stream's: posts in another format, and compliance messages.

use serde_json::{Map, Value};

/// Kind of a message in another format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForeignFormat {
    /// A post in the Activity Streams format.
    ActivityStreams,
    /// A post in the format of the v2 API.
    V2,
    /// A post within an unknown object.
    Envelope,
    /// Compliance: a post was deleted.
    Delete,
    /// Compliance: places must be removed from posts.
    ScrubGeo,
    /// Compliance: a post is withheld in some countries.
    StatusWithheld,
    /// Compliance: a post must not be shown.
    Drop,
    /// Compliance: a post may be shown again.
    Undrop,
    /// Compliance: a post has a new version.
    Edit,
    /// Compliance: a user was deleted, protected, suspended, withheld, or the reverse.
    User,
}

impl ForeignFormat {
    /// True for a post in another format, false for a compliance message.
    pub fn is_post(self) -> bool {
        matches!(self, Self::ActivityStreams | Self::V2 | Self::Envelope)
    }

    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::ActivityStreams,
        Self::V2,
        Self::Envelope,
        Self::Delete,
        Self::ScrubGeo,
        Self::StatusWithheld,
        Self::Drop,
        Self::Undrop,
        Self::Edit,
        Self::User,
    ];

    /// Returns a short name for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::ActivityStreams => "activity_streams",
            Self::V2 => "v2",
            Self::Envelope => "envelope",
            Self::Delete => "delete",
            Self::ScrubGeo => "scrub_geo",
            Self::StatusWithheld => "status_withheld",
            Self::Drop => "drop",
            Self::Undrop => "undrop",
            Self::Edit => "tweet_edit",
            Self::User => "user",
        }
    }

    /// Returns advice for the operator.
    pub fn advice(self) -> &'static str {
        match self {
            Self::ActivityStreams => {
                "the stream sends Activity Streams; set its output format to native enriched (original) at X"
            }
            Self::V2 => {
                "the endpoint sends the v2 format, as Filtered Stream does; point accounts[].url at Powerstream"
            }
            Self::Envelope => "the endpoint wraps posts in an unknown object; point accounts[].url at Powerstream",
            _ => "compliance messages are not delivered to subscribers; read them from X's compliance stream",
        }
    }
}

/// Returns the format of an object that is neither a post nor a control message; `None` if unknown.
pub(super) fn read(root: &Map<String, Value>) -> Option<ForeignFormat> {
    if is_activity(root) {
        return Some(ForeignFormat::ActivityStreams);
    }
    if let Some(kind) = compliance(root) {
        return Some(kind);
    }
    let data = objects(root.get("data")?);
    // A response of the rules endpoint has `data` too.
    let is_post = |data: &Map<String, Value>| is_post(data) || data.contains_key("edit_history_tweet_ids");
    if root.contains_key("matching_rules") || data.clone().any(is_post) {
        return Some(ForeignFormat::V2);
    }
    data.filter_map(compliance).next()
}

/// True if a post is nested in the object, one level down.
pub(super) fn is_envelope(root: &Map<String, Value>) -> bool {
    root.values().flat_map(objects).any(is_post)
}

/// True for a post in the format of the stream, or similar: it has text, and an id or another key of a post.
pub(super) fn is_post(object: &Map<String, Value>) -> bool {
    let has = |keys: &[&str]| keys.iter().any(|key| object.get(*key).is_some_and(|value| !value.is_null()));
    has(&["text", "full_text", "body"]) && has(&["id", "id_str", "created_at", "user", "author_id"])
}

/// Returns the object, or the objects in the array.
fn objects(value: &Value) -> impl Iterator<Item = &Map<String, Value>> + Clone {
    let one = value.as_object();
    one.into_iter().chain(value.as_array().into_iter().flatten().filter_map(Value::as_object))
}

fn is_activity(root: &Map<String, Value>) -> bool {
    let text = |key: &str| root.get(key).and_then(Value::as_str);
    let id = text("id").unwrap_or_default();
    id.starts_with("tag:") || id.starts_with("object:") || text("objectType").is_some() || text("verb").is_some()
}

fn compliance(root: &Map<String, Value>) -> Option<ForeignFormat> {
    root.iter().filter(|(_, inner)| inner.is_object()).find_map(|(key, _)| {
        Some(match &**key {
            "delete" | "status_delete" | "tweet_delete" => ForeignFormat::Delete,
            "scrub_geo" => ForeignFormat::ScrubGeo,
            "status_withheld" | "tweet_withheld" | "withheld" => ForeignFormat::StatusWithheld,
            "drop" | "tweet_drop" => ForeignFormat::Drop,
            "undrop" | "tweet_undrop" => ForeignFormat::Undrop,
            "tweet_edit" | "status_edit" => ForeignFormat::Edit,
            _ if key.starts_with("user_") => ForeignFormat::User,
            _ => return None,
        })
    })
}
