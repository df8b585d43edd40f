use powerstream_consumer::proto::{Event, Origin};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::escape;
use crate::model::UnixMillis;

/// Output format of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFormat {
    /// Time, tags, author and text on a line of limited width.
    Human {
        /// Columns of the terminal.
        width: usize,
    },
    /// A JSON object on one line, with the payload unchanged but for line breaks between its values.
    Json,
    /// The payload, byte for byte, and a line end.
    Payload,
}

/// The object that `--json` prints.
#[derive(Serialize)]
struct JsonLine<'a> {
    sequence: u64,
    /// As a string: JSON readers round 64-bit numbers.
    post_id: String,
    tags: &'a [String],
    event_time: Option<String>,
    received_time: String,
    origin: &'static str,
    post: Box<RawValue>,
}

impl EventFormat {
    /// Appends the event, line end included.
    pub fn event(self, event: &Event, out: &mut Vec<u8>) {
        match self {
            Self::Human { width } => out.extend_from_slice(human(event, width).as_bytes()),
            Self::Json => json(event, out),
            Self::Payload => out.extend_from_slice(event.json.as_bytes()),
        }
        out.push(b'\n');
    }
}

fn json(event: &Event, out: &mut Vec<u8>) {
    // One line per event. Line breaks occur only between the values of a payload: in strings they are escaped.
    let payload = event.json.replace(['\n', '\r'], " ");
    // A payload that is not JSON is an error of the gateway; it is printed as text.
    let post = RawValue::from_string(payload).or_else(|_| to_raw_value(&event.json));
    let line = post.and_then(|post| {
        let line = JsonLine {
            sequence: event.sequence,
            post_id: event.post_id.to_string(),
            tags: &event.tags,
            event_time: (event.event_time_ms != 0).then(|| UnixMillis(event.event_time_ms).to_string()),
            received_time: UnixMillis(event.received_time_ms).to_string(),
            origin: origin(event.origin()),
            post,
        };
        serde_json::to_writer(&mut *out, &line)
    });
    line.expect("text and numbers are JSON, and a Vec accepts all of it");
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Unspecified => "unknown",
        Origin::Live => "live",
        Origin::Backfill => "backfill",
        Origin::Recovery => "recovery",
    }
}

fn human(event: &Event, width: usize) -> String {
    let time = if event.event_time_ms == 0 { event.received_time_ms } else { event.event_time_ms };
    let tags = event.tags.join(", ");
    let (author, text) = author_and_text(&event.json);
    let line = format!("{} [{tags}] @{author}: {text}", UnixMillis(time));
    clipped(&line, width)
}

/// The fields of a post that the default output shows.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PostFields {
    text: Option<String>,
    full_text: Option<String>,
    extended_tweet: Option<Box<PostFields>>,
    retweeted_status: Option<Box<PostFields>>,
    user: Option<EventAuthor>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EventAuthor {
    screen_name: Option<String>,
}

impl PostFields {
    fn author(&self) -> &str {
        self.user.as_ref().and_then(|user| user.screen_name.as_deref()).unwrap_or("?")
    }

    /// Returns the longest text: that of a retweet itself is truncated (PowerTrack data dictionary).
    fn text(&self) -> String {
        if let Some(original) = &self.retweeted_status {
            return format!("RT @{}: {}", original.author(), original.text());
        }
        let extended = self.extended_tweet.as_ref().and_then(|extended| extended.full_text.as_ref());
        extended.or(self.full_text.as_ref()).or(self.text.as_ref()).cloned().unwrap_or_default()
    }
}

fn author_and_text(payload: &str) -> (String, String) {
    match serde_json::from_str::<PostFields>(payload) {
        Ok(seen) => (seen.author().to_owned(), seen.text()),
        Err(_) => ("?".to_owned(), payload.to_owned()),
    }
}

/// Returns one line without control characters (a post must not control the terminal), truncated to `width` columns.
fn clipped(line: &str, width: usize) -> String {
    let mut used = 0;
    let mut out = String::with_capacity(line.len().min(width.saturating_mul(4)));
    for c in line.chars() {
        let c = if escape::is_unsafe(c) { ' ' } else { c };
        used += columns(c);
        if used > width {
            while out.chars().map(columns).sum::<usize>() + 1 > width && out.pop().is_some() {}
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

/// Returns the approximate width of a character: East Asian wide letters and emoji have two columns.
fn columns(c: char) -> usize {
    match c {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> Event {
        Event {
            sequence: 7,
            post_id: 1_068_540_203_504_144_386,
            tags: vec!["cats".into(), "eu".into()],
            event_time_ms: 1_539_202_764_123,
            received_time_ms: 1_539_202_765_000,
            origin: Origin::Live.into(),
            json: json.into(),
            ..Event::default()
        }
    }

    fn shown(format: EventFormat, json: &str) -> String {
        let mut out = Vec::new();
        format.event(&event(json), &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn payload_is_in_json_on_one_line() {
        for payload in [r#"{ "id":1.0e2 , "text":"\u00e9\/é",  "text":"twice" }"#, "{\r\n  \"id\": 1\r\n}", "[]"] {
            let line = shown(EventFormat::Json, payload);
            let on_one_line = payload.replace("\r\n", "  ");
            assert!(line.ends_with(&format!("\"post\":{on_one_line}}}\n")), "{line}");
            assert_eq!(line.lines().count(), 1, "a line for each event");
            assert!(
                line.starts_with(r#"{"sequence":7,"post_id":"1068540203504144386","tags":["cats","eu"],"#),
                "{line}"
            );
            assert_eq!(shown(EventFormat::Payload, payload), format!("{payload}\n"));
        }
        assert!(shown(EventFormat::Json, "no json").contains(r#""post":"no json""#));
    }

    #[test]
    fn person_sees_author_and_longest_text() {
        let check = |json: &str, width: usize, expected: &str| {
            assert_eq!(
                shown(EventFormat::Human { width }, json),
                format!("2018-10-10T20:19:24.123Z [cats, eu] {expected}\n")
            );
        };
        check(r#"{"user":{"screen_name":"ann"},"text":"hi\nthere\u001b[2J"}"#, 200, "@ann: hi there [2J");
        check(r#"{"text":"cut…","extended_tweet":{"full_text":"whole"}}"#, 200, "@?: whole");
        check(
            r#"{"user":{"screen_name":"ann"},"text":"RT @bob: lo…",
               "retweeted_status":{"user":{"screen_name":"bob"},"text":"long"}}"#,
            200,
            "@ann: RT @bob: long",
        );
        check(r#"{"user":{"screen_name":"ann"},"text":"猫猫猫猫猫"}"#, 24 + 12 + 6 + 6, "@ann: 猫猫…");
        check("no json", 200, "@?: no json");
    }

    #[test]
    fn any_width_is_kept() {
        for width in 0..60 {
            let line = shown(EventFormat::Human { width }, r#"{"text":"猫 and dogs and 猫"}"#);
            assert!(line.trim_end_matches('\n').chars().map(columns).sum::<usize>() <= width.max(1), "{width}: {line}");
        }
    }
}
