use std::io::Write;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

pub(super) const BYTES_MAX: usize = 600;

/// Frames the pieces; returns values as they are, other items by their kind.
pub(super) fn frame(pieces: impl IntoIterator<Item = Bytes>) -> Vec<String> {
    let mut framer = Framer::new(BYTES_MAX, 8);
    let mut frames = Vec::new();
    for piece in pieces {
        framer.push(piece);
        while let Some(framed) = framer.next() {
            frames.push(describe(framed));
        }
        assert!(framer.kept.capacity() <= 2 * BYTES_MAX, "memory does not grow with the line");
    }
    let rest = framer.finish();
    frames.extend(rest.framed.into_iter().map(describe));
    if rest.partial_bytes > 0 {
        frames.push(format!("partial {}", rest.partial_bytes));
    }
    frames
}

fn describe(framed: Framed) -> String {
    match framed {
        Framed::Value(value) => String::from_utf8(value.to_vec()).expect("a value is UTF-8"),
        Framed::Heartbeat => "heartbeat".to_owned(),
        Framed::Oversized { bytes } => format!("oversized {bytes}"),
        Framed::Malformed { bytes, reason: MalformedReason::NotAnObject, text } => {
            format!("text {bytes} {}", String::from_utf8_lossy(&text))
        }
        Framed::Malformed { bytes, reason, .. } => format!("{reason:?} {bytes}"),
    }
}

pub(super) fn whole(wire: &[u8]) -> Vec<String> {
    frame([Bytes::copy_from_slice(wire)])
}

pub(super) fn byte_by_byte(wire: &[u8]) -> Vec<String> {
    frame(wire.iter().map(|byte| Bytes::copy_from_slice(&[*byte])))
}

pub(super) fn check(wire: impl AsRef<[u8]>, expected: &[&str]) {
    let wire = wire.as_ref();
    assert_eq!(whole(wire), expected, "{}", String::from_utf8_lossy(wire));
    assert_eq!(byte_by_byte(wire), expected, "{}", String::from_utf8_lossy(wire));
}

#[test]
fn values_need_no_delimiter() {
    check("{\"a\":1}\r\n{\"b\":2}\r\n", &["{\"a\":1}", "{\"b\":2}"]);
    check("{\"a\":1}\n{\"b\":2}\r\n", &["{\"a\":1}", "{\"b\":2}"]);
    check("{\"a\":1}{\"b\":2}", &["{\"a\":1}", "{\"b\":2}"]);
    check("{\"a\":1} \t{\"b\":2}", &["{\"a\":1}", "{\"b\":2}"]);
    check("{\n  \"a\": {\n    \"b\": [1,\n2]\n  }\n}\r\n", &["{\n  \"a\": {\n    \"b\": [1,\n2]\n  }\n}"]);
    check(r#"{"a":"}]{[\"\\"}"#, &[r#"{"a":"}]{[\"\\"}"#]);
}

#[test]
fn error_ended_by_lf_is_separate_value() {
    check(
        "{\"error\":{\"message\":\"full\"}}\n{\"id\":1}\r\n{\"id\":2}\r\n",
        &["{\"error\":{\"message\":\"full\"}}", "{\"id\":1}", "{\"id\":2}"],
    );
}

#[test]
fn line_breaks_beyond_delimiter_are_heartbeats() {
    check("\r\n", &["heartbeat"]);
    check("{\"a\":1}\r\n\r\n\r\n{\"b\":2}\r\n\n", &["{\"a\":1}", "heartbeat", "heartbeat", "{\"b\":2}", "heartbeat"]);
    check(" ", &["heartbeat"]);
}

/// A byte order mark or a NUL between values costs no post, and is no heartbeat (fault 07).
#[test]
fn control_characters_between_values_are_skipped() {
    for mark in ["\u{feff}", "\0", "\0\0\0", "\u{feff}\0", "\u{1e}", "\u{c}", "\u{7f}"] {
        check(format!("{mark}{{\"a\":1}}\r\n{mark}{{\"b\":2}}{mark}\r\n"), &["{\"a\":1}", "{\"b\":2}"]);
        check(format!("{{\"a\":1}}{mark}{{\"b\":2}}\n{mark}\n"), &["{\"a\":1}", "{\"b\":2}", "heartbeat"]);
        check(format!("{mark}[{mark}{{\"a\":1}}{mark},{mark}{{\"b\":2}}{mark}]\n"), &["{\"a\":1}", "{\"b\":2}"]);
        check(format!("{{\"a\":\"cut\r\n{mark}{{\"b\":2}}\r\n"), &["BrokenString 11", "{\"b\":2}"]);
        check(format!("{{\"a\":[2\n{mark}{{\"b\":2}}\r\n"), &["Unfinished 8", "{\"b\":2}"]);
        check(mark, &[]);
    }
}

#[test]
fn array_elements_are_separate_messages() {
    check("[{\"a\":1}]\r\n", &["{\"a\":1}"]);
    check("[\n  {\"a\":1},\n  {\"b\":2}\n]\r\n\r\n", &["{\"a\":1}", "{\"b\":2}", "heartbeat"]);
    check("[]\r\n{\"a\":1}", &["{\"a\":1}"]);
    check("[[{\"a\":1}],{\"b\":2}]\r\n", &["NestedArray 9", "{\"b\":2}"]);
    // A truncated array does not swallow the following values.
    check("[{\"a\":1}\r\n[{\"b\":2}]\r\n\r\n", &["{\"a\":1}", "{\"b\":2}", "heartbeat"]);
    check("[{\"a\":1}\r\n{\"b\":2}\r\n\r\n", &["{\"a\":1}", "{\"b\":2}", "heartbeat"]);
    check("[1,\"x\"]\r\n{\"b\":2}\r\n", &["text 8 1,\"x\"]", "{\"b\":2}"]);
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(400));
    check(format!("[{long},{long},{long}]\r\n"), &[&long, &long, &long]);
}

#[test]
fn text_between_values_is_malformed_line() {
    check("<html>\r\n{\"a\":1}\r\n", &["text 8 <html>", "{\"a\":1}"]);
    check("{\"a\":1} oops {\"b\":2}\n{\"c\":3}", &["{\"a\":1}", "text 13 oops {\"b\":2}", "{\"c\":3}"]);
    check("}]\n,\n{\"c\":3}", &["text 3 }]", "text 2 ,", "{\"c\":3}"]);
    check("This stream has been disconnected", &["text 33 This stream has been disconnected"]);
    check([b"\xff\xfe\n".as_slice(), b"{\"a\":1}"].concat(), &["text 3 \u{fffd}\u{fffd}", "{\"a\":1}"]);
    let frames = whole(&[b'x'; 5_000]);
    assert_eq!(frames, [format!("text 5000 {}", "x".repeat(TEXT_BYTES_MAX))]);
}

#[test]
fn malformed_value_spares_next_value() {
    check([b"{\"a\":\"\xff\"}\n".as_slice(), b"{\"a\":1}"].concat(), &["Encoding 9", "{\"a\":1}"]);
    check("{\"a\":\"cut\r\n{\"b\":2}\r\n\r\n", &["BrokenString 11", "{\"b\":2}", "heartbeat"]);
    check("{\"a\":\"cut\\\n{\"b\":2}\r\n", &["BrokenString 11", "{\"b\":2}"]);
    let deep = |depth: usize| format!("{}{}", "{\"a\":".repeat(depth - 1) + "{", "}".repeat(depth));
    check(deep(8), &[&deep(8)]);
    check(deep(9) + "\n{\"a\":1}", &["Depth 50", "{\"a\":1}"]);
}

#[test]
fn oversized_message_is_skipped() {
    let of_length = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let fits = of_length(BYTES_MAX);
    check(&fits, &[&fits]);
    check(of_length(BYTES_MAX + 1) + "\r\n{\"b\":2}", &[&format!("oversized {}", BYTES_MAX + 1), "{\"b\":2}"]);
    check(of_length(9_000) + "\r\n{\"b\":2}", &["oversized 9000", "{\"b\":2}"]);
    check(&of_length(9_000)[..8_000], &["partial 8000"]);
}

#[test]
fn truncated_value_is_counted_as_partial() {
    check("{\"a\":1}\r\n{\"b\"", &["{\"a\":1}", "partial 4"]);
    check("{\"a\":\"\\", &["partial 7"]);
    check("", &[]);
    check("[{\"a\":1},", &["{\"a\":1}"]);
}

#[test]
fn value_within_one_piece_is_not_copied() {
    let piece = Bytes::from_static(b"\r\n{\"a\":1}\r\n");
    let mut framer = Framer::new(BYTES_MAX, DEPTH_MAX);
    framer.push(piece.clone());
    assert_eq!(framer.next(), Some(Framed::Heartbeat));
    let Some(Framed::Value(value)) = framer.next() else { panic!("a value") };
    assert_eq!(value.as_ptr(), piece[2..].as_ptr());
}

/// Returns every kind of input of a stream, in random order.
fn mixed_wire(rng: &mut SmallRng) -> Vec<u8> {
    let long = format!("{{\"id\":9,\"text\":\"{}\"}}", "long ".repeat(200));
    let escaped = format!("{{\"id\":15,\"text\":\"{}\"}}\r\n", r#"\\\" \ud83d\ude00\/"#.repeat(20));
    let kinds: [&[u8]; 33] = [
        b"{\"id\":1,\"text\":\"plain\"}\r\n",
        "{\"id\":2,\"text\":\"Grüße 👋🏽 日本語\"}\r\n".as_bytes(),
        b"{\"id\":3,\"text\":\"a \\\"quote\\\" and a \\\\\",\"u\":\"\\ud83d\\ude00\\/\"}\r\n",
        b"{\"id\":4,\"a\":{\"b\":[{\"c\":[]},{}],\"d\":\"]}\"}}\n",
        b"[{\"id\":5},{\"id\":6}]\r\n",
        b"[\n  {\n    \"id\": 7\n  }\n]\r\n",
        b"{\n  \"warning\": {\n    \"percent_full\": 30\n  }\n}\r\n",
        b"{\"error\":{\"message\":\"too many\"}}\n{\"id\":8}\r\n",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        long.as_bytes(),
        escaped.as_bytes(),
        b"<html><title>503</title></html>\r\n",
        b"\xc3\x28 garbage\n",
        b"{\"bad\":\"\xc3\x28\"}\r\n",
        b"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}\r\n",
        b"[[1,2],{\"id\":10}]\r\n",
        b"{\"cut\":\"in a str\r\n",
        b"{\"id\":11}{\"id\":12} {\"id\":13}\r\n",
        b"{}",
        b"{\"id\":16,\"user\":{\"id\":2\r\n",
        b"{\"id\":17,\"user\":\r\n",
        b"{\"id\":18,\"list\":[\n",
        b"{\n  \"id\": 19,\n  \"list\": [1,\r\n",
        b"{\n\"id\": 20,\n\"list\": [\n{\n\"a\": 1\n},\n{}\n]\n}\n",
        b"{\"id\":21,\"u\":\n{\"a\":1}\n}\n",
        b"\xef\xbb\xbf{\"id\":22}\r\n\x00\x00",
        b"[\n",
        b"{\n  \"id\": 23,\n  \"list\": [\n    \n  ]\n}\r\n",
        b"{\n  \"id\": 24,\n  \"list\": [\n\n  ]\n}\r\n",
        b"{\"id\":25,\"list\":[\r\n\r\n",
        b"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":\n",
    ];
    let mut wire = Vec::new();
    for _ in 0..rng.random_range(8..40) {
        wire.extend_from_slice(kinds[rng.random_range(0..kinds.len())]);
    }
    if rng.random_bool(0.3) {
        wire.extend_from_slice(b"{\"id\":14,\"text\":\"cut");
    }
    wire
}

pub(super) fn random_pieces(rng: &mut SmallRng, wire: &[u8]) -> Vec<Bytes> {
    let longest = [3, 17, 60, 200, 4_096][rng.random_range(0..5)];
    let wire = Bytes::copy_from_slice(wire);
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < wire.len() {
        let to = (at + rng.random_range(0..=longest)).min(wire.len());
        pieces.push(wire.slice(at..to));
        at = to;
    }
    pieces
}

#[test]
fn any_chunking_gives_same_messages() {
    const SEED: u64 = 20_261_121;
    let mut rng = SmallRng::seed_from_u64(SEED);
    let mut chunkings = 0;
    while chunkings < 100_000 {
        let wire = mixed_wire(&mut rng);
        let expected = whole(&wire);
        for _ in 0..100 {
            let pieces = random_pieces(&mut rng, &wire);
            assert_eq!(frame(pieces), expected, "seed {SEED}, chunking {chunkings}");
            chunkings += 1;
        }
    }
}

#[test]
fn gzip_chunking_does_not_change_messages() {
    const SEED: u64 = 7;
    let mut rng = SmallRng::seed_from_u64(SEED);
    for round in 0..500 {
        let wire = mixed_wire(&mut rng);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for piece in random_pieces(&mut rng, &wire) {
            encoder.write_all(&piece).expect("encoded");
            if rng.random_bool(0.3) {
                encoder.flush().expect("a sync flush");
            }
        }
        let compressed = encoder.finish().expect("encoded");
        let pieces = random_pieces(&mut rng, &compressed);
        let mut decoder = MultiGzDecoder::new(Pieces(pieces.into()));
        let mut decoded = Vec::new();
        let mut buffer = [0; 97];
        loop {
            match std::io::Read::read(&mut decoder, &mut buffer).expect("decoded") {
                0 => break,
                read => decoded.push(Bytes::copy_from_slice(&buffer[..read])),
            }
        }
        assert_eq!(frame(decoded), whole(&wire), "seed {SEED}, round {round}");
    }
}

/// A reader that returns one piece per read.
struct Pieces(VecDeque<Bytes>);

impl std::io::Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.0.front().is_some_and(Bytes::is_empty) {
            self.0.pop_front();
        }
        let Some(piece) = self.0.front_mut() else { return Ok(0) };
        let read = piece.len().min(buffer.len());
        buffer[..read].copy_from_slice(&piece.split_to(read));
        Ok(read)
    }
}

#[test]
fn cut_at_any_byte_changes_nothing() {
    let text = r#"\\\" \u00e4\\ \\\\\" {[]} \/\n"#.repeat(12);
    let wire =
        Bytes::from(format!("{{\"id\":1,\"text\":\"{text}\",\"a\":[{{}}]}}\r\n{{\"id\":2,\"text\":\"{text}\"}}\r\n"));
    let expected = byte_by_byte(&wire);
    assert_eq!(expected.len(), 2, "{expected:?}");
    for cut in 0..=wire.len() {
        assert_eq!(frame([wire.slice(..cut), wire.slice(cut..)]), expected, "cut at {cut}");
    }
}

#[test]
fn random_bytes_are_no_harm() {
    let mut rng = SmallRng::seed_from_u64(3);
    let alphabet = b"{}[]\",:\\\r\n 1a\xff";
    for round in 0..20_000 {
        let wire: Vec<u8> = (0..60 + round % 300).map(|_| alphabet[rng.random_range(0..alphabet.len())]).collect();
        let expected = byte_by_byte(&wire);
        assert_eq!(whole(&wire), expected, "{wire:?}");
        let cut = rng.random_range(0..wire.len());
        assert_eq!(frame([&wire[..cut], &wire[cut..]].map(Bytes::copy_from_slice)), expected, "{wire:?} cut at {cut}");
    }
}
