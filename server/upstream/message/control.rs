use serde_json::Value;

use super::{Message, time};
use crate::model::UnixMillis;

/// Longest text of X that is kept, in characters: it goes into log lines.
const DETAIL_CHARS_MAX: usize = 300;

/// Most entries of a list of minutes: the minutes of the 24 h that X recovers.
const MINUTES_MAX: usize = 24 * 60;

/// Something that X says about the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The first message of a connection that asked for one datacenter's posts only.
    ConnectionMetadata {
        /// That datacenter.
        datacenter: Option<String>,
    },
    /// How a recovery ended, or other news.
    Info {
        /// Which.
        info: Info,
        /// Posts sent, where it says so.
        activity_count: Option<u64>,
    },
    /// A warning in words.
    Warning {
        /// The words.
        detail: String,
        /// How full the buffer for a slow reader is, in per cent, where it says so.
        percent_full: Option<u8>,
    },
    /// A failure, after which X usually ends the connection.
    Fault {
        /// What it means.
        fault: Fault,
        /// The words.
        detail: String,
    },
    /// Posts that matched but were held back.
    Limit {
        /// How many since the connection was made.
        track: Option<u64>,
    },
}

/// News of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info {
    /// All was sent.
    Completed,
    /// All but these minutes was sent.
    CompletedWithErrors {
        /// The minutes to ask for again.
        minutes_failed: Vec<UnixMillis>,
    },
    /// This range was not sent.
    FailedToComplete {
        /// Its start, where it says so.
        from: Option<UnixMillis>,
        /// Its end, where it says so.
        to: Option<UnixMillis>,
    },
    /// Something else.
    Other,
}

/// What a failure told in the stream means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// X's buffer for this reader is full: there will be no backfill.
    FullBuffer,
    /// Another connection takes the slot.
    TooManyConnections,
    /// X, or a person through X, ends this connection.
    ForcedDisconnect,
    /// X needs to restart something.
    Operational,
    /// The posts paid for are used up.
    UsageCapped,
    /// Something else.
    Other,
}

/// About a post or a user, not a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// A post was deleted.
    Delete,
    /// Places are to be removed from posts.
    ScrubGeo,
    /// A post is withheld in some countries.
    StatusWithheld,
    /// A post is not to be shown.
    Drop,
    /// A post may be shown again.
    Undrop,
    /// A post has a new version.
    Edit,
    /// A user was deleted, protected, suspended, withheld, or the reverse.
    User,
}

pub(super) fn read(value: &[u8]) -> Option<Message> {
    let root: Value = serde_json::from_slice(value).ok()?;
    let object = root.as_object()?;
    if let Some(side) = object.iter().filter(|(_, inner)| inner.is_object()).find_map(|(key, _)| side(key)) {
        return Some(Message::Side(side));
    }
    control(&root).map(Message::Control)
}

/// What X says in plain text (PT, FAQ).
pub(super) fn read_text(text: &str) -> Option<Control> {
    match fault_in_words(text) {
        Fault::Other => None,
        fault => Some(Control::Fault { fault, detail: bounded(text) }),
    }
}

fn side(key: &str) -> Option<Side> {
    Some(match key {
        "delete" => Side::Delete,
        "scrub_geo" => Side::ScrubGeo,
        "status_withheld" => Side::StatusWithheld,
        "drop" => Side::Drop,
        "undrop" => Side::Undrop,
        "tweet_edit" => Side::Edit,
        _ if key.starts_with("user_") => Side::User,
        _ => return None,
    })
}

fn control(root: &Value) -> Option<Control> {
    let inner = |key: &str| root.get(key).filter(|value| !value.is_null());
    if root["type"] == "connection_metadata" {
        return Some(Control::ConnectionMetadata { datacenter: root["datacenter"].as_str().map(bounded) });
    }
    if let Some(info) = inner("info") {
        return Some(Control::Info { info: read_info(info), activity_count: count(&info["activity_count"]) });
    }
    if let Some(warning) = inner("warning").or(inner("warn")) {
        let percent_full = warning["percent_full"].as_u64().map(|percent| percent.min(100) as u8);
        return Some(Control::Warning { detail: words(warning), percent_full });
    }
    if let Some(error) = inner("error") {
        let detail = words(error);
        return Some(Control::Fault { fault: fault_in_words(&detail), detail });
    }
    if let Some(problem) = inner("errors").map(|errors| &errors[0]).or_else(|| is_problem(root).then_some(root)) {
        return Some(Control::Fault { fault: fault_of_problem(problem), detail: words(problem) });
    }
    if let Some(disconnect) = inner("disconnect") {
        let detail = format!("{} (code {})", words(disconnect), disconnect["code"]);
        return Some(Control::Fault { fault: fault_of_code(disconnect["code"].as_u64()), detail: bounded(&detail) });
    }
    inner("limit").map(|limit| Control::Limit { track: limit["track"].as_u64() })
}

fn read_info(info: &Value) -> Info {
    let message = info["message"].as_str().unwrap_or_default().to_ascii_lowercase();
    let range = &info["unprocessed_range"];
    let at = |value: &Value| value.as_str().and_then(time);
    if message.contains("failed to complete") || range.is_object() {
        return Info::FailedToComplete { from: at(&range["fromDate"]), to: at(&range["toDate"]) };
    }
    let minutes = info["minutes_failed"].as_array();
    if message.contains("completed with errors") || minutes.is_some_and(|minutes| !minutes.is_empty()) {
        let named: Option<Vec<_>> = minutes.into_iter().flatten().take(MINUTES_MAX + 1).map(at).collect();
        // Where one cannot be read, it is not known which minutes were sent.
        let minutes_failed = named.filter(|minutes| minutes.len() <= MINUTES_MAX).unwrap_or_default();
        return Info::CompletedWithErrors { minutes_failed };
    }
    let Some((_, more)) = message.split_once("request completed") else { return Info::Other };
    if ["with ", "without all", "error", "fail", "partial", "incomplete"].iter().any(|word| more.contains(word)) {
        return Info::CompletedWithErrors { minutes_failed: Vec::new() };
    }
    Info::Completed
}

/// A count: a number, or its digits in a string, with or without separators of thousands.
fn count(value: &Value) -> Option<u64> {
    let text = match value {
        Value::Number(number) => return number.as_u64().or_else(|| number.as_f64().map(|count| count.max(0.0) as u64)),
        Value::String(text) => text,
        _ => return None,
    };
    let digits: String = text.chars().filter(|c| !matches!(c, ',' | '.' | '_' | '\'' | ' ' | '\u{a0}')).collect();
    digits.parse().ok()
}

fn is_problem(root: &Value) -> bool {
    let has = |key: &str| root[key].is_string();
    has("disconnect_type") || has("connection_issue") || (has("title") && (has("detail") || has("type")))
}

fn fault_of_problem(problem: &Value) -> Fault {
    let text = |key: &str| problem[key].as_str().unwrap_or_default();
    match (text("disconnect_type"), text("connection_issue"), text("type").rsplit('/').next().unwrap_or_default()) {
        ("SlowReader", ..) => Fault::FullBuffer,
        ("ForceDisconnect", ..) => Fault::ForcedDisconnect,
        (_, "TooManyConnections", _) => Fault::TooManyConnections,
        (_, _, "usage-capped") => Fault::UsageCapped,
        (
            "OperationalDisconnect"
            | "UpstreamOperationalDisconnect"
            | "UpstreamUncleanDisconnect"
            | "InternalError"
            | "ClientApplicationStateDegraded",
            ..,
        )
        | (_, _, "operational-disconnect") => Fault::Operational,
        _ => fault_in_words(&words(problem)),
    }
}

/// v1.1's codes (streaming message types; hbc, Constants).
fn fault_of_code(code: Option<u64>) -> Fault {
    match code {
        Some(2) => Fault::TooManyConnections,
        Some(3 | 7) => Fault::ForcedDisconnect,
        Some(4) => Fault::FullBuffer,
        Some(1 | 5 | 9..=12) => Fault::Operational,
        _ => Fault::Other,
    }
}

fn fault_in_words(text: &str) -> Fault {
    let text = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["maximum allowed backup", "unable to keep up", "buffer size"]) {
        Fault::FullBuffer
    } else if says(&["too many connections", "maximum allowed connection"]) {
        Fault::TooManyConnections
    } else if says(&["forced disconnect", "force closing"]) {
        Fault::ForcedDisconnect
    } else if says(&["operational reasons"]) {
        Fault::Operational
    } else {
        Fault::Other
    }
}

/// The words of a message, wherever it has them.
fn words(value: &Value) -> String {
    let keys = ["detail", "message", "reason", "title"];
    let found = keys.iter().filter_map(|key| value[*key].as_str()).find(|text| !text.is_empty());
    bounded(found.or(value.as_str()).unwrap_or_default())
}

fn bounded(text: &str) -> String {
    let printable = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(DETAIL_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(fields: &str) -> (Info, Option<u64>) {
        match Message::classify(format!(r#"{{"info":{{{fields}}}}}"#).into()) {
            Message::Control(Control::Info { info, activity_count }) => (info, activity_count),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn counts_are_read_in_any_form() {
        for (text, expected) in
            [("8874", 8874), ("\"8874\"", 8874), ("\"8,874\"", 8874), ("\"1 008 874\"", 1_008_874), ("8874.0", 8874)]
        {
            let completed = info(&format!(r#""message":"Replay Request Completed","activity_count":{text}"#));
            assert_eq!(completed, (Info::Completed, Some(expected)), "{text}");
        }
        for text in ["null", "\"many\"", "[]", "-1.5e300"] {
            let (_, count) = info(&format!(r#""message":"Replay Request Completed","activity_count":{text}"#));
            assert!(count.is_none_or(|count| count == 0), "{text}: {count:?}");
        }
    }

    #[test]
    fn unreadable_failure_is_no_completion() {
        let nothing_named = Info::CompletedWithErrors { minutes_failed: Vec::new() };
        for fields in [
            r#""message":"Recovery Request Completed with Errors""#,
            r#""message":"Recovery Request Completed with failures""#,
            r#""message":"Recovery Request Completed","minutes_failed":["2013-02-20T00:05:00+00:00", 1361318760]"#,
            r#""message":"Recovery Request Completed","minutes_failed":["soon"]"#,
        ] {
            assert_eq!(info(fields).0, nothing_named, "{fields}");
        }
        assert_eq!(info(r#""message":"Recovery Request Completed.""#).0, Info::Completed);
        assert_eq!(info(r#""message":"Recovery Request not completed""#).0, Info::Other);
    }
}
