//! Bodies of a stream: codings and chunks that are none, values that are no posts, and ends of all kinds.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::scaled;
use super::answers::{chunk, stream};
use super::raw::{Answer, End, Piece};
use super::{Case, Ids, MESSAGE_BYTES_MAX, SECRET, post};

const GZIP: &str = "content-encoding: gzip\r\n";
/// A head without a length: the body ends with the connection.
const PLAIN: &str = "HTTP/1.1 200 OK\r\n\r\n";
/// Errors of a silent stream, and of a body that is none.
const STALE: &str = "no message and no heartbeat";
const UNDECODABLE: &str = "failed to decode body";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

fn gzip(parts: &[&[u8]]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    parts.iter().for_each(|part| encoder.write_all(part).expect("memory"));
    encoder.finish().expect("memory")
}

/// So many times this byte, without having them all.
fn bomb(before: &[u8], byte: u8, after: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(before).expect("memory");
    (0..scaled(32, 1_024)).for_each(|_| encoder.write_all(&[byte; 1 << 20]).expect("memory"));
    encoder.write_all(after).expect("memory");
    encoder.finish().expect("memory")
}

/// Codings and transfer codings.
pub fn codings(ids: &mut Ids) -> Vec<Case> {
    let (first, line) = ids.post();
    let (second, other) = ids.post();
    let zipped = gzip(&[line.as_bytes()]);
    let (third, fourth) = (ids.next(), ids.next());
    let chunks = |text: &str| [CHUNKED, text].concat();
    let behind = |before: Vec<u8>, id: u64| [before, stream("", post(id))].concat();
    let fifth = ids.next();
    vec![
        Case::delivers("gzip", stream(GZIP, &zipped), &[first]),
        Case::delivers(
            "two members of gzip",
            stream(GZIP, [gzip(&[other.as_bytes()]), gzip(&[post(third).as_bytes()])].concat()),
            &[second, third],
        ),
        Case::fails(
            "gzip that is cut off",
            Answer::new([Piece::Bytes([stream(GZIP, &zipped[..9]), b"0\r\n\r\n".to_vec()].concat())], End::Close),
            "ended the stream",
        ),
        Case::fails("gzip that is none", stream(GZIP, "{\"title\":\"x\"}\r\n"), UNDECODABLE),
        Case::fails("gzip with wrong bytes in it", stream(GZIP, [&zipped[..12], &[0xff; 40]].concat()), STALE),
        Case::fails("a coding that was not asked for", stream("content-encoding: br\r\n", "x"), UNDECODABLE),
        Case::fails(
            "a coding that echoes the bearer",
            stream(&format!("content-encoding: {SECRET}\r\n"), "x"),
            UNDECODABLE,
        ),
        Case::fails(
            "gzip in gzip, as declared",
            stream("content-encoding: gzip, gzip\r\n", gzip(&[&zipped])),
            UNDECODABLE,
        ),
        Case::delivers("a gzip bomb of white space", stream(GZIP, bomb(b"", b' ', post(fourth).as_bytes())), &[fourth]),
        Case::delivers(
            "a gzip bomb in a text",
            stream(GZIP, bomb(b"{\"id_str\":\"1\",\"text\":\"", b'x', &[b"\"}\r\n", post(fifth).as_bytes()].concat())),
            &[fifth],
        ),
        Case::fails("a chunk size that is none", chunks("zz\r\n"), UNDECODABLE),
        Case::fails("a negative chunk size", chunks("-5\r\n"), UNDECODABLE),
        Case::fails("a chunk of 2^80 bytes", chunks("100000000000000000000\r\n"), UNDECODABLE),
        Case::fails("a chunk extension of 1 MB", chunks(&format!("5;{}\r\n", "x".repeat(1 << 20))), UNDECODABLE),
        Case::fails("a chunk longer than declared", chunks("2\r\nlonger\r\n"), UNDECODABLE),
        Case::fails("trailers without an end", chunks(&format!("0\r\n{}", "x: y\r\n".repeat(100_000))), UNDECODABLE),
        Case::fails(
            "a second answer behind the first",
            Answer::new(
                [Piece::Bytes(behind("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\r\n".into(), 7))],
                End::Hold,
            ),
            "ended the stream",
        ),
    ]
}

/// A stream with this in front of a post, which comes.
struct Before<'i>(&'i mut Ids);

impl Before<'_> {
    fn comes(&mut self, name: &'static str, before: impl AsRef<[u8]>) -> Case {
        let (id, line) = self.0.post();
        let body = [before.as_ref(), b"\r\n", line.as_bytes()].concat();
        Case::delivers(name, stream("", body), &[id])
    }
}

/// Values between posts. None of them is an end of the stream.
pub fn values(ids: &mut Ids) -> Vec<Case> {
    let id = ids.next();
    let rule = |count: usize, tag: &str| {
        let rules: Vec<_> = (0..count).map(|n| format!("{{\"id\":{n},\"tag\":\"{tag}{n}\"}}")).collect();
        format!("{{\"id_str\":\"{id}\",\"matching_rules\":[{}]}}", rules.join(","))
    };
    let with = |fields: &str| format!("{{{fields},\"text\":\"x\"}}");
    let mut x = Before(ids);
    vec![
        x.comes("a web page", "<html><body>Error</body></html>"),
        x.comes("a line of 10 MB", "x".repeat(10 << 20)),
        x.comes("a text of 10 MB", with(&format!("\"id_str\":\"1\",\"y\":\"{}\"", "y".repeat(10 << 20)))),
        x.comes(
            "a post at the bound",
            with(&format!("\"id_str\":\"x\",\"y\":\"{}\"", "y".repeat(MESSAGE_BYTES_MAX - 40))),
        ),
        x.comes("1 MB of NUL", vec![0; 1 << 20]),
        x.comes("1 MB of empty lines", "\r\n".repeat(512 << 10)),
        x.comes("a byte order mark", b"\xef\xbb\xbf"),
        x.comes("no UTF-8", b"{\"id_str\":\"9\",\"text\":\"\xff\xfe\xc0\x80\"}"),
        x.comes("a raw line break in a text", "{\"id_str\":\"9\",\"text\":\"a\nb\"}"),
        x.comes("half a surrogate", with(r#""id_str":"x","y":"\ud800""#)),
        x.comes("200 levels", "{\"a\":".repeat(200) + "1" + &"}".repeat(200)),
        x.comes("100,000 levels", "[".repeat(100_000) + &"]".repeat(100_000)),
        x.comes("brackets that were never opened", "]]]}}}}"),
        x.comes("10,000 empty objects", "{}".repeat(10_000)),
        x.comes("values that are no objects", "null true 1.5e999 \"text\" [] [[]] -0"),
        x.comes("a number of 100 KB", "9".repeat(100 << 10)),
        x.comes("an id of 2^64", with("\"id\":18446744073709551616")),
        x.comes("an id of 400 digits", with(&format!("\"id_str\":\"{}\"", "9".repeat(400)))),
        x.comes("a negative id", with("\"id\":-5")),
        x.comes("an id with a fraction", with("\"id\":1.5e3")),
        x.comes("an id that is an object", with("\"id_str\":{\"a\":1},\"id\":[]")),
        x.comes("an empty id", with("\"id_str\":\"\"")),
        x.comes("no id", "{\"text\":\"x\",\"created_at\":\"x\",\"user\":{}}"),
        x.comes("20,000 rules", rule(20_000, "t")),
        x.comes("a tag of 5,000 bytes", rule(1, &"t".repeat(5_000))),
        x.comes("an error object without sense", "{\"error\":{\"message\":7,\"sent\":[]}}"),
        x.comes("100 KB of a warning", format!("{{\"warn\":{{\"message\":\"{}\"}}}}", "w".repeat(100 << 10))),
        x.comes("a warning that echoes the bearer", format!("{{\"warn\":{{\"message\":\"{SECRET}\"}}}}")),
        x.comes("a warning with marks of direction", "{\"warn\":{\"message\":\"\\u202e\\u009b\\u2066\"}}"),
        x.comes("metadata with marks of direction", "{\"type\":\"connection_metadata\",\"datacenter\":\"\\u202e\"}"),
        x.comes(
            "an info that echoes it in escapes",
            format!("{{\"info\":{{\"message\":\"\\u{:04x}{}\"}}}}", 0x41, &SECRET[1..]),
        ),
        x.comes("an object that is not known", format!("{{\"new\":{{\"token\":\"{SECRET}\"}}}}")),
        x.comes("compliance messages", "{\"delete\":{\"status\":{\"id_str\":\"1\"}}}".repeat(100)),
        x.comes("a value that does not end", "{\"id_str\":\"9\",\"text\":\"a"),
    ]
}

/// An error with this detail, and the end of the stream.
fn last_words(name: &'static str, detail: &str, error: &'static str) -> Case {
    let text = format!("{PLAIN}{{\"errors\":[{{\"title\":\"operational-disconnect\",\"detail\":\"{detail}\"}}]}}\r\n");
    Case::fails(name, Answer::new([Piece::Bytes(text.into())], End::Close), error)
}

/// Odd posts that are posts, and ends.
pub fn ends(ids: &mut Ids) -> Vec<Case> {
    let mut odd = |name, fields: &str| {
        let id = ids.next();
        let body = format!("{{\"id_str\":\"{id}\",{fields},\"text\":\"x\"}}\r\n");
        Case::delivers(name, stream("", body), &[id])
    };
    let mut cases = vec![
        odd("rules that are a number", "\"matching_rules\":7"),
        odd("rules that are null", "\"matching_rules\":null"),
        odd("rules of other types", "\"matching_rules\":[1,\"a\",null,{},[[]],{\"id\":{},\"tag\":[]}]"),
        odd("a rule id of 2^70", "\"matching_rules\":[{\"id\":1180591620717411303424,\"tag\":\"a\"}]"),
        odd("a tag with NUL and escapes", "\"matching_rules\":[{\"id\":1,\"tag\":\"\\u0000\\u001b[2J\\u202e\"}]"),
        odd("rules twice", "\"matching_rules\":[],\"matching_rules\":[{\"id\":1,\"tag\":\"b\"}]"),
        odd("1,000 rules", &format!("\"matching_rules\":[{}]", vec!["{\"id\":5,\"tag\":\"c\"}"; 1_000].join(","))),
        odd("a malformed created_at", "\"created_at\":\"Sun Feb 31 99:99:99 +9999 0\",\"matching_rules\":[]"),
    ];
    let (id, line) = ids.post();
    let bytes: Vec<u8> = line.bytes().flat_map(|byte| chunk([byte])).collect();
    cases.push(Case::delivers("a post of one byte a chunk", [CHUNKED.as_bytes(), &bytes].concat(), &[id]));
    let (id, line) = ids.post();
    cases.push(Case::delivers("the same post 1,000 times", stream("", line.repeat(1_000)), &[id]));
    let (id, line) = ids.post();
    cases.push(Case::delivers("without a length", [PLAIN, &line].concat(), &[id]));
    let (id, line) = ids.post();
    let half = [PLAIN, &line, &post(1)[..40]].concat();
    cases.push(Case::delivers("a reset within a post", Answer::new([Piece::Bytes(half.into())], End::Reset), &[id]));
    let (id, line) = ids.post();
    let half = [stream("", &line), b"ff\r\n{\"id_str\":".to_vec()].concat();
    cases.push(Case::delivers("closed within a chunk", Answer::new([Piece::Bytes(half)], End::Close), &[id]));
    let silent = |name, body: &str| Case::fails(name, stream("", body), STALE);
    let drip = Piece::Drip("{\"id_str\":\"9\",\"text\":\"".bytes().chain(vec![b'x'; 500]).collect());
    cases.extend([
        Case::fails("silence", CHUNKED, STALE),
        silent("half a post and silence", "{\"id_str\":"),
        Case::fails(
            "a post byte by byte that does not end",
            Answer::new([Piece::Bytes(PLAIN.into()), drip], End::Hold),
            STALE,
        ),
        Case::fails(
            "a text without an end",
            Answer::new(
                [Piece::Bytes([PLAIN, "{\"a\":\""].concat().into()), Piece::Endless(vec![b'x'; 64 << 10])],
                End::Hold,
            ),
            STALE,
        ),
        Case::fails(
            "arbitrary bytes without an end",
            Answer::new([Piece::Bytes(PLAIN.into()), Piece::Endless(b"garbage\r\n".repeat(1_000))], End::Hold),
            STALE,
        ),
        last_words("an error, and the end", "go away", "go away"),
        last_words("an error with marks of direction", "go\\u202e\\u009b away", "go\\u{202e} away"),
        last_words("an error with the bearer at its bound", &format!("{}{SECRET}", "x".repeat(280)), "xxx"),
    ]);
    cases
}
