use serde_json::{Map, Value};

use super::time::time;
use crate::model::UnixMillis;
use crate::xapi::is_usage_cap;

/// Maximum characters of X's text that are processed. It is bounded again when it is made safe to show, so much further
/// that no part of a bearer at this bound is left.
const WORDS_CHARS_MAX: usize = 64 << 10;

/// Maximum entries of a list of minutes: the minutes of the recovery window of 24 h.
const MINUTES_MAX: usize = 24 * 60;

/// Maximum processed elements of a list of errors.
const ERRORS_MAX: usize = 100;

/// Fill level of X's buffer, in percent, from which on X is about to disconnect a slow reader.
pub const NEARLY_FULL_PERCENT: u8 = 90;

/// Control message of X.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlMessage {
    /// The first message of a connection that requested the posts of one datacenter only.
    ConnectionMetadata {
        /// The datacenter.
        datacenter: Option<String>,
    },
    /// Result of a recovery request, or other information.
    Info {
        /// The result.
        info: RecoveryResult,
        /// Number of posts sent, if reported.
        activity_count: Option<u64>,
    },
    /// A warning as text.
    Warning {
        /// The text.
        detail: String,
        /// Fill level of the buffer for a slow reader, in percent, if reported.
        percent_full: Option<u8>,
    },
    /// An error, after which X usually ends the connection.
    Fault {
        /// Kind of error.
        fault: StreamErrorKind,
        /// The text.
        detail: String,
    },
    /// Matching posts that X withheld.
    Limit {
        /// Their number since the start of the connection.
        track: Option<u64>,
    },
}

impl ControlMessage {
    /// Returns a short name for logs, the same for all messages of one kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConnectionMetadata { .. } => "connection_metadata",
            Self::Info { .. } => "info",
            // A name of its own, so that it is logged even after milder warnings.
            Self::Warning { percent_full: Some(NEARLY_FULL_PERCENT..), .. } => "buffer_nearly_full",
            Self::Warning { percent_full: Some(_), .. } => "buffer_filling",
            Self::Warning { percent_full: None, .. } => "warning",
            Self::Fault { fault, .. } => fault.name(),
            Self::Limit { .. } => "limit",
        }
    }

    /// Replaces all texts of X in it.
    pub(in crate::upstream) fn replace_words(&mut self, replaced: impl Fn(&str) -> String) {
        match self {
            Self::ConnectionMetadata { datacenter: Some(words) }
            | Self::Warning { detail: words, .. }
            | Self::Fault { detail: words, .. } => *words = replaced(words),
            Self::ConnectionMetadata { datacenter: None } | Self::Info { .. } | Self::Limit { .. } => {}
        }
    }
}

impl StreamErrorKind {
    /// Returns a short name for logs.
    fn name(self) -> &'static str {
        match self {
            Self::Other => "error",
            Self::Operational => "operational",
            Self::InvalidRules => "invalid_rules",
            Self::ForcedDisconnect => "forced_disconnect",
            Self::TooManyConnections => "too_many_connections",
            Self::FullBuffer => "slow_reader",
            Self::UsageCapped => "usage_capped",
        }
    }
}

/// Result of a recovery request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveryResult {
    /// Everything was sent.
    Completed,
    /// Everything except these minutes was sent.
    CompletedWithErrors {
        /// Minutes to request again.
        minutes_failed: Vec<UnixMillis>,
    },
    /// This range was not sent.
    FailedToComplete {
        /// Start, if reported.
        from: Option<UnixMillis>,
        /// End, if reported.
        to: Option<UnixMillis>,
    },
    /// Something else.
    Other,
}

/// Kind of an error in the stream, in ascending severity: of several, the most severe counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamErrorKind {
    /// Something else.
    Other,
    /// X has to restart something.
    Operational,
    /// X rejected the rules of the stream.
    InvalidRules,
    /// X, or a user of X, ends this connection.
    ForcedDisconnect,
    /// Another connection takes the slot.
    TooManyConnections,
    /// X's buffer for this reader is full: there will be no backfill.
    FullBuffer,
    /// The paid posts are used up.
    UsageCapped,
}

/// Parses an announcement of X in plain text (PT, FAQ).
pub(super) fn read_text(text: &str) -> Option<ControlMessage> {
    match fault_in_words(text) {
        StreamErrorKind::Other => None,
        fault => Some(ControlMessage::Fault { fault, detail: bounded(text) }),
    }
}

pub(super) fn read(root: &Map<String, Value>) -> Option<ControlMessage> {
    let inner = |key: &str| root.get(key).filter(|value| !value.is_null());
    if inner("type").is_some_and(|kind| kind == "connection_metadata") {
        return Some(ControlMessage::ConnectionMetadata {
            datacenter: inner("datacenter").and_then(Value::as_str).map(bounded),
        });
    }
    if let Some(info) = inner("info") {
        return Some(ControlMessage::Info { info: read_info(info), activity_count: count(&info["activity_count"]) });
    }
    let weightiest =
        |first: (StreamErrorKind, String), next: (StreamErrorKind, String)| if next.0 > first.0 { next } else { first };
    if let Some((fault, detail)) = faults(root).into_iter().reduce(weightiest) {
        return Some(ControlMessage::Fault { fault, detail });
    }
    if let Some(warning) = inner("warning").or(inner("warn")) {
        let detail = words(warning);
        let percent_full = percent_full(warning).or_else(|| percent_in_words(&detail));
        return Some(ControlMessage::Warning { detail, percent_full });
    }
    inner("limit").map(|limit| ControlMessage::Limit { track: limit["track"].as_u64() })
}

/// Returns all errors of a message, with their texts.
fn faults(root: &Map<String, Value>) -> Vec<(StreamErrorKind, String)> {
    let inner = |key: &str| root.get(key).filter(|value| !value.is_null());
    let mut faults = Vec::new();
    let mut add = |problem: &Value| faults.push((fault_of_problem(problem), words(problem)));
    match inner("errors") {
        Some(Value::Array(errors)) if errors.is_empty() => add(&Value::Null),
        Some(Value::Array(errors)) => errors.iter().take(ERRORS_MAX).for_each(&mut add),
        Some(error) => add(error),
        None => {}
    }
    inner("error").into_iter().for_each(&mut add);
    if is_problem(root) {
        add(&Value::Object(root.clone()));
    }
    if let Some(disconnect) = inner("disconnect") {
        let detail = format!("{} (code {})", words(disconnect), disconnect["code"]);
        let fault = fault_of_code(disconnect["code"].as_u64()).max(fault_in_words(&detail));
        faults.push((fault, bounded(&detail)));
    }
    faults
}

/// Parses a fill level from a number or a text.
fn percent_full(warning: &Value) -> Option<u8> {
    let percent = &warning["percent_full"];
    let percent = percent.as_f64().or_else(|| percent.as_str()?.trim().trim_end_matches('%').parse().ok())?;
    Some(percent.clamp(0.0, 100.0) as u8)
}

/// Parses a fill level from a sentence: "Your queue is now over 60% full."
fn percent_in_words(text: &str) -> Option<u8> {
    let (before, _) = text.split_once("% full")?;
    let number =
        before.trim_start_matches(|c: char| !c.is_ascii_digit()).rsplit(|c: char| !c.is_ascii_digit()).next()?;
    number.parse::<u64>().ok().map(|percent| percent.min(100) as u8)
}

fn read_info(info: &Value) -> RecoveryResult {
    let message = info["message"].as_str().unwrap_or_default().to_ascii_lowercase();
    let range = &info["unprocessed_range"];
    let at = |value: &Value| value.as_str().and_then(time);
    if message.contains("failed to complete") || range.is_object() {
        return RecoveryResult::FailedToComplete { from: at(&range["fromDate"]), to: at(&range["toDate"]) };
    }
    let minutes = info["minutes_failed"].as_array();
    if message.contains("completed with errors") || minutes.is_some_and(|minutes| !minutes.is_empty()) {
        let named: Option<Vec<_>> = minutes.into_iter().flatten().take(MINUTES_MAX + 1).map(at).collect();
        // If a minute cannot be parsed, it is unknown which minutes were sent.
        let minutes_failed = named.filter(|minutes| minutes.len() <= MINUTES_MAX).unwrap_or_default();
        return RecoveryResult::CompletedWithErrors { minutes_failed };
    }
    let Some((_, more)) = message.split_once("request completed") else { return RecoveryResult::Other };
    if ["with ", "without all", "error", "fail", "partial", "incomplete"].iter().any(|word| more.contains(word)) {
        return RecoveryResult::CompletedWithErrors { minutes_failed: Vec::new() };
    }
    RecoveryResult::Completed
}

/// Parses a count: a number, or its digits in a string, with or without thousands separators.
fn count(value: &Value) -> Option<u64> {
    let text = match value {
        Value::Number(number) => return number.as_u64().or_else(|| number.as_f64().map(|count| count.max(0.0) as u64)),
        Value::String(text) => text,
        _ => return None,
    };
    let digits: String = text.chars().filter(|c| !matches!(c, ',' | '.' | '_' | '\'' | ' ' | '\u{a0}')).collect();
    digits.parse().ok()
}

fn is_problem(root: &Map<String, Value>) -> bool {
    let has = |key: &str| root.get(key).is_some_and(Value::is_string);
    let more = || ["detail", "type", "reason"].iter().any(|key| has(key)) || root.contains_key("status");
    has("disconnect_type") || has("connection_issue") || (has("title") && more())
}

fn fault_of_problem(problem: &Value) -> StreamErrorKind {
    if is_usage_cap(problem) {
        return StreamErrorKind::UsageCapped;
    }
    let text = |key: &str| problem[key].as_str().unwrap_or_default();
    if INVALID_RULES_KEYS.iter().any(|key| problem[*key].as_str().is_some_and(is_invalid_rules)) {
        return StreamErrorKind::InvalidRules;
    }
    let by_words = fault_in_words(&words(problem));
    match (text("disconnect_type"), text("connection_issue"), text("type").rsplit('/').next().unwrap_or_default()) {
        ("SlowReader", ..) => StreamErrorKind::FullBuffer,
        ("ForceDisconnect", ..) => StreamErrorKind::ForcedDisconnect.max(by_words),
        (_, "TooManyConnections", _) => StreamErrorKind::TooManyConnections.max(by_words),
        (
            "OperationalDisconnect"
            | "UpstreamOperationalDisconnect"
            | "UpstreamUncleanDisconnect"
            | "InternalError"
            | "ClientApplicationStateDegraded",
            ..,
        )
        | (_, _, "operational-disconnect") => StreamErrorKind::Operational.max(by_words),
        _ => by_words,
    }
}

/// Keys that may contain the problem of a rule set.
const INVALID_RULES_KEYS: [&str; 4] = ["disconnect_type", "title", "reason", "type"];

/// True if a text names invalid rules. X writes such names in words, in camel case and with hyphens.
fn is_invalid_rules(text: &str) -> bool {
    let letters = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase());
    let squeezed: String = letters.collect();
    ["invalidrule", "rulesinvalid", "ruleinvalid"].iter().any(|name| squeezed.contains(name))
}

/// Maps v1.1's codes (streaming message types; hbc, Constants).
fn fault_of_code(code: Option<u64>) -> StreamErrorKind {
    match code {
        Some(2) => StreamErrorKind::TooManyConnections,
        Some(3 | 7) => StreamErrorKind::ForcedDisconnect,
        Some(4) => StreamErrorKind::FullBuffer,
        Some(1 | 5 | 9..=12) => StreamErrorKind::Operational,
        _ => StreamErrorKind::Other,
    }
}

fn fault_in_words(text: &str) -> StreamErrorKind {
    if is_usage_cap(&Value::from(text)) {
        return StreamErrorKind::UsageCapped;
    }
    let text = text.to_ascii_lowercase();
    let mentions = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if mentions(&["maximum allowed backup", "unable to keep up", "buffer size", "slow reader", "slowreader"]) {
        StreamErrorKind::FullBuffer
    } else if mentions(&["too many connections", "maximum allowed connection"]) {
        StreamErrorKind::TooManyConnections
    } else if mentions(&["forced disconnect", "force closing"]) {
        StreamErrorKind::ForcedDisconnect
    } else if mentions(&["operational reasons"]) {
        StreamErrorKind::Operational
    } else {
        StreamErrorKind::Other
    }
}

/// Returns the text of a message, under any of its keys.
fn words(value: &Value) -> String {
    let keys = ["detail", "message", "reason", "title"];
    let found = keys.iter().filter_map(|key| value[*key].as_str()).find(|text| !text.is_empty());
    bounded(found.or(value.as_str()).unwrap_or_default())
}

fn bounded(text: &str) -> String {
    text.chars().take(WORDS_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(fields: &str) -> (RecoveryResult, Option<u64>) {
        let root: Value = serde_json::from_str(&format!(r#"{{"info":{{{fields}}}}}"#)).expect("JSON");
        match read(root.as_object().expect("an object")) {
            Some(ControlMessage::Info { info, activity_count }) => (info, activity_count),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn counts_are_read_in_any_form() {
        for (text, expected) in
            [("8874", 8874), ("\"8874\"", 8874), ("\"8,874\"", 8874), ("\"1 008 874\"", 1_008_874), ("8874.0", 8874)]
        {
            let completed = info(&format!(r#""message":"Replay Request Completed","activity_count":{text}"#));
            assert_eq!(completed, (RecoveryResult::Completed, Some(expected)), "{text}");
        }
        for text in ["null", "\"many\"", "[]", "-1.5e300"] {
            let (_, count) = info(&format!(r#""message":"Replay Request Completed","activity_count":{text}"#));
            assert!(count.is_none_or(|count| count == 0), "{text}: {count:?}");
        }
    }

    #[test]
    fn unreadable_failure_is_no_completion() {
        let nothing_named = RecoveryResult::CompletedWithErrors { minutes_failed: Vec::new() };
        for fields in [
            r#""message":"Recovery Request Completed with Errors""#,
            r#""message":"Recovery Request Completed with failures""#,
            r#""message":"Recovery Request Completed","minutes_failed":["2013-02-20T00:05:00+00:00", 1361318760]"#,
            r#""message":"Recovery Request Completed","minutes_failed":["soon"]"#,
        ] {
            assert_eq!(info(fields).0, nothing_named, "{fields}");
        }
        assert_eq!(info(r#""message":"Recovery Request Completed.""#).0, RecoveryResult::Completed);
        assert_eq!(info(r#""message":"Recovery Request not completed""#).0, RecoveryResult::Other);
    }
}
