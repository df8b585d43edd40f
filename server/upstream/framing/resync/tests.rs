use proptest::prelude::*;

use super::super::tests::{BYTES_MAX, check, frame, whole};
use super::*;
use crate::upstream::framing::DEPTH_MAX;

/// One value that is truncated outside of a string does not swallow the ten complete ones after it (R2-F, rule 2.7).
#[test]
fn unfinished_value_does_not_swallow_next_ones() {
    let rest: String = (10..20).map(|n| format!("{{\"id\":{n}}}\r\n\r\n")).collect();
    let expected: Vec<_> = (10..20).flat_map(|n| [format!("{{\"id\":{n}}}"), "heartbeat".to_owned()]).collect();
    for cut in [
        "{\"id\":1,\"user\":{\"id\":2",
        "{\"id\":1,\"user\":{\"id\":",
        "{\"id\":1,\"user\":{\"id\"",
        "{\"id\":1,\"user\":{",
        "{\"id\":1,\"user\":",
        "{\"id\":1,\"list\":[",
        "{\"id\":1,\"list\":[1,",
        "{\"id\":1,\"list\":[{}",
        "{\"id\":1,\"flag\":tru",
        "{\"id\":1,",
        "{\"id\":1",
        "{",
        "[{\"id\":1,\"list\":[",
        "{\"id\":1,\"text\":\"in a str",
        "{\"id\":1,\"text\":\"in an escape\\",
        "{\n  \"id\": 1,\n  \"user\": {\n    \"id\": 2,",
        "{\n  \"id\": 1,\n  \"user\": ",
    ] {
        for line_break in ["\n", "\r\n"] {
            let mut frames = whole(format!("{cut}{line_break}{rest}").as_bytes());
            let first = frames.remove(0);
            assert!(first.starts_with("Unfinished") || first.starts_with("BrokenString"), "{cut}: {first}");
            assert_eq!(frames, expected, "{cut}");
        }
    }
}

#[test]
fn unfinished_value_ends_with_its_line() {
    // The next line: a heartbeat, text, an array, a value of several lines.
    check("{\"a\":{\"b\":2\r\n\r\n\r\n", &["Unfinished 14", "heartbeat", "heartbeat"]);
    check("{\"a\":\r\n\r\n", &["Unfinished 8", "heartbeat"]);
    check("{\"a\":\r\n{\"b\":2}\r\n\r\n", &["Unfinished 7", "{\"b\":2}", "heartbeat"]);
    check("{\"a\":[\n\n\n", &["Unfinished 7", "heartbeat", "heartbeat"]);
    check("{\"a\":[\n\n", &["Unfinished 7", "heartbeat"]);
    check("{\"a\":[\n\n{\"b\":2}\n{\"c\":3}\n", &["Unfinished 7", "heartbeat", "{\"b\":2}", "{\"c\":3}"]);
    check("{\n\n{\"b\":2}\n", &["Unfinished 2", "heartbeat", "{\"b\":2}"]);
    check("{\"a\":{\"b\":2\r\n<html>\r\n{\"c\":3}", &["Unfinished 13", "text 8 <html>", "{\"c\":3}"]);
    check("{\"a\":[\n[{\"b\":2},\n{\"c\":3}]\n\n", &["Unfinished 7", "{\"b\":2}", "{\"c\":3}", "heartbeat"]);
    check("{\"a\":\n{\n  \"b\": 2\n}\n{\n  \"c\": 3\n}", &["Unfinished 6", "{\n  \"b\": 2\n}", "{\n  \"c\": 3\n}"]);
    check("{\"a\":\n{\"b\":\n{\"c\":\n{\"d\":4}", &["Unfinished 6", "Unfinished 6", "Unfinished 6", "{\"d\":4}"]);
    // The end of the stream is evidence too; without a line that may be a message, the rest is partial.
    check("{\"a\":\r\n{\"b\":2}", &["Unfinished 7", "{\"b\":2}"]);
    check("{\"a\":\r\n{\"b\":2", &["Unfinished 7", "partial 6"]);
    check("{\"a\":\r\n", &["partial 7"]);
    check("{\"a\":\r\n  {\"b\":2}", &["partial 16"]);
    // So is a value that becomes too long, or too deep.
    let long = "x".repeat(BYTES_MAX);
    check(
        format!("{{\"a\":\n{{\"b\":2}}\r{long}\n{{\"c\":3}}"),
        &["Unfinished 6", "{\"b\":2}", &format!("text {} {}", BYTES_MAX + 1, &long[..512]), "{\"c\":3}"],
    );
    let deep = "{\"a\":".repeat(9) + "1" + &"}".repeat(9);
    check(format!("{{\"a\":\n{deep}\n{{\"c\":3}}"), &["Unfinished 6", "Depth 55", "{\"c\":3}"]);
    // Values on the same line are lost with it.
    check("{\"a\":{\"b\":2{\"c\":3}\r\n{\"d\":4}\r\n", &["Unfinished 20", "{\"d\":4}"]);
}

/// The output of any printer is one value, for any layout of its lines.
#[test]
fn whole_value_of_any_layout_is_one_value() {
    let one = |text: &str| check(format!("{text}\r\n{{\"z\":1}}"), &[text, "{\"z\":1}"]);
    one("{\n\"a\": 1,\n\"b\": [\n{\n\"id\": 5\n},\n{\n\"id\": 6\n}\n],\n\"c\": {\n\"id\": 7\n}\n}");
    one("{\n  \"a\":\n  {\n    \"id\": 5\n  },\n  \"b\":\n  [\n    {\n      \"id\": 6\n    }\n  ]\n}");
    one("{\"a\":[\n{\"id\":5},\n{\"id\":6}\n]}");
    one("{\"a\":\n{\"id\":5}\n,\"b\":\n[{\"id\":6}\n,{\"id\":7}\n]\n}");
    one("{\r\n\t\"a\" : \r\n\t[ ]\r\n\t, \"b\" \r\n: null\r\n}");
    // Empty containers as printed by the simulator and older versions of Ruby's printer.
    one("{\n  \"a\": [\n    \n  ],\n  \"b\": {\r\n    \r\n  }\n}");
    one("{\n  \"a\": [\n\n  ],\n  \"b\": {\r\n\r\n},\n  \"c\": [\n\n    {\n\n}\n]}");
    one("{\n\n}");
    one("{\n}");
    one("{\"a\"\n:\n-1\n,\n\"b\"\n:\ntrue\n}");
}

/// Prints a post: compact, or over several lines.
fn post(id: u64, text: &str, indent: Option<usize>) -> String {
    let value = serde_json::json!({
        "id": id,
        "text": text,
        "user": {"id": 7, "name": "ä \"b\"", "entities": {"urls": [], "flags": [true, false, null]}},
        "coordinates": [[1.5, -2e3], []],
        "entities": {"urls": [{"url": "x", "indices": [1, 2]}, {"url": "\\", "indices": [3, 4]}], "none": {}},
        "rules": [{"tag": "a", "id": id}],
    });
    let Some(indent) = indent else { return value.to_string() };
    let indent = " ".repeat(indent);
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut text = Vec::new();
    serde::Serialize::serialize(&value, &mut serde_json::Serializer::with_formatter(&mut text, formatter))
        .expect("serialized");
    String::from_utf8(text).expect("UTF-8")
}

fn layout() -> impl Strategy<Value = Option<usize>> {
    prop::sample::select(vec![None, None, Some(1), Some(2), Some(4)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Posts of which one is truncated at any byte, in or outside of a string: every complete post after the next line
    /// break is framed, and nothing else is taken for a message (rule 2.7).
    #[test]
    fn one_cut_post_costs_only_itself(
        posts in prop::collection::vec((0_u64..9, "[a-z{}\\[\\]\",: ]{0,20}", layout(), any::<bool>(), 0..3_usize), 2..7),
        victim in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        pieces in prop::collection::vec(1_usize..200, 1..10),
    ) {
        let victim = victim.index(posts.len());
        let (mut wire, mut expected) = (String::new(), Vec::new());
        for (at, (id, text, indent, line_feed, heartbeats)) in posts.iter().enumerate() {
            let whole = post(*id, text, *indent);
            let line_break = if *line_feed { "\n" } else { "\r\n" };
            if at == victim {
                let cut = whole.floor_char_boundary(1 + cut.index(whole.len() - 1));
                wire.push_str(&whole[..cut]);
            } else {
                wire.push_str(&whole);
                expected.push(whole);
            }
            wire.push_str(&line_break.repeat(1 + heartbeats));
        }
        let mut framer = Framer::new(1 << 20, DEPTH_MAX);
        let (mut values, mut malformed, mut rest) = (Vec::new(), 0, Bytes::from(wire.clone().into_bytes()));
        let mut take = |framed: Framed| match framed {
            Framed::Value(value) => values.push(String::from_utf8(value.to_vec()).expect("UTF-8")),
            Framed::Malformed { .. } => malformed += 1,
            Framed::Heartbeat | Framed::Oversized { .. } => {}
        };
        for bytes in pieces.iter().cycle() {
            framer.push(rest.split_to((*bytes).min(rest.len())));
            while let Some(framed) = framer.next() {
                take(framed);
            }
            if rest.is_empty() {
                break;
            }
        }
        let end = framer.finish();
        end.framed.into_iter().for_each(take);
        prop_assert_eq!(values, expected, "{}", wire);
        prop_assert_eq!(malformed + u32::from(end.partial_bytes > 0), 1, "{}", wire);
    }

    /// Lines that may or may not continue a value: any chunking gives the same result.
    #[test]
    fn any_chunking_of_broken_lines_is_same(
        lines in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", "\"a\":", "1", " {", "\n", "{\"a\":", "{\"b\":[", "{\"c\":3}", "[{\"d\":4}]", "\"e", "", "", "{\"i\":[",
            "}}", "\r", "{\"f\":{\"g\":[1,", "text", "\u{feff}", "{\"h\":[[[[[[[[", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "\"iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii\"",
        ]), 1..60),
        pieces in prop::collection::vec(1_usize..90, 1..8),
    ) {
        let wire = Bytes::from(lines.join("\n").into_bytes());
        let (mut rest, mut split) = (wire.clone(), Vec::new());
        for bytes in pieces.iter().cycle() {
            split.push(rest.split_to((*bytes).min(rest.len())));
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(frame(split), whole(&wire));
    }
}
