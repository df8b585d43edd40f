//! Heads of answers: status lines and fields that are none, and refusals of all kinds.

use std::net::SocketAddr;

use super::raw::{Answer, End, Piece};
use super::{Case, Ids, SECRET};

const OK: &str = "HTTP/1.1 200 OK\r\n";

/// Errors of an answer that is none, and of one that does not arrive.
const FOREIGN: &str = "not HTTP";
const LATE: &str = "no response headers";

/// A stream with these fields that begins with this body; it does not end.
pub fn stream(fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut bytes = format!("{OK}{fields}transfer-encoding: chunked\r\n\r\n").into_bytes();
    bytes.extend(chunk(body));
    bytes
}

/// One chunk.
pub fn chunk(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

/// A whole answer with this status line, and this body.
fn refusal(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn closed(bytes: impl Into<Vec<u8>>) -> Answer {
    Answer::new([Piece::Bytes(bytes.into())], End::Close)
}

/// Heads that are none, and odd ones.
pub fn heads(ids: &mut Ids) -> Vec<Case> {
    let endless = |first: &str, more: &str| {
        Answer::new([Piece::Bytes(first.into()), Piece::Endless(more.repeat(1_000).into())], End::Hold)
    };
    let drip = |text: &str| Answer::new([Piece::Drip(text.into())], End::Hold);
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let mut odd = |name, before: &str, fields: &str| {
        let (id, line) = ids.post();
        Case::delivers(name, [before.as_bytes(), &stream(fields, line)].concat(), &[id])
    };
    vec![
        odd("no reason phrase, no date", "", ""),
        odd("a date that is none", "", "date: yesterday\r\n"),
        odd("the year 9999", "", "date: Fri, 31 Dec 9999 23:59:59 GMT\r\n"),
        odd("three dates", "", &"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n".repeat(3)),
        odd("rate limits that are none", "", "x-rate-limit-reset: -99999999999999999999\r\nx-rate-limit-limit: ∞\r\n"),
        odd("cookies and keep-alive", "", "set-cookie: a=b\r\nconnection: keep-alive\r\nkeep-alive: timeout=0\r\n"),
        odd("an interim answer", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", ""),
        odd("50 interim answers", &"HTTP/1.1 100 Continue\r\n\r\n".repeat(50), ""),
        Case::fails("closed without an answer", closed(""), "connection reset before response"),
        Case::fails("reset without an answer", Answer::new([], End::Reset), "connection reset before response"),
        Case::fails("no answer at all", "", LATE),
        Case::fails("JSON without a head", "{\"title\":\"x\"}\r\n\r\n", FOREIGN),
        Case::fails("a TLS alert", [0x15, 3, 1, 0, 2, 2, 70], FOREIGN),
        Case::fails("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", FOREIGN),
        Case::fails("another protocol", "SSH-2.0-OpenSSH_9.6\r\n\r\n", FOREIGN),
        Case::fails("a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", FOREIGN),
        Case::fails("a negative status", "HTTP/1.1 -20 OK\r\n\r\n", FOREIGN),
        Case::fails("a field without a colon", format!("{OK}nothing\r\n\r\n"), FOREIGN),
        Case::fails("a field with NUL", format!("{OK}x: a\0b\r\n\r\n"), FOREIGN),
        Case::fails("200 fields", format!("{OK}{many}\r\n"), FOREIGN),
        Case::fails("a status line without an end", endless("HTTP/1.1 200 ", "OK "), FOREIGN),
        Case::fails("a field without an end", endless("HTTP/1.1 200 OK\r\nx: ", "yyyy"), FOREIGN),
        Case::fails("fields without an end", endless(OK, "x: y\r\n"), FOREIGN),
        Case::fails("a head byte by byte", drip(&format!("{OK}{many}")), LATE),
        Case::fails("interim answers without an end", endless("", "HTTP/1.1 100 Continue\r\n\r\n"), LATE),
        Case::fails("two lengths", format!("{OK}content-length: 5\r\ncontent-length: 6\r\n\r\n"), FOREIGN),
        Case::fails("a negative length", format!("{OK}content-length: -5\r\n\r\n"), FOREIGN),
        Case::fails("a length of 2^70", format!("{OK}content-length: 1180591620717411303424\r\n\r\n"), FOREIGN),
        Case::fails("another protocol from here on", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "101"),
        Case::fails("204", "HTTP/1.1 204 No Content\r\n\r\n", "204"),
        Case::fails("206", refusal("206 Partial Content", "content-range: bytes 0-0/1\r\n", "x"), "206"),
        Case::fails("304", "HTTP/1.1 304 Not Modified\r\n\r\n", "304"),
        Case::fails("999", refusal("999 Unknown", "", "x"), "999"),
    ]
}

/// Refusals; some point elsewhere, some echo the bearer.
pub fn refusals(elsewhere: SocketAddr) -> Vec<Case> {
    let escaped = SECRET.replace('%', "\\u0025").replace('+', "\\u002b");
    let decoded = SECRET.replace("%2F", "/").replace('+', "%2B");
    let redirect = |status: &str, target: &str| refusal(status, &format!("location: {target}\r\n"), "");
    let problem =
        |text: &str| refusal("403 Forbidden", "", &format!("{{\"title\":\"Forbidden\",\"detail\":\"{text}\"}}"));
    let long = format!("{{\"detail\":\"{}\"}}", "x".repeat(10 << 20));
    let unending = [
        Piece::Bytes("HTTP/1.1 503 X\r\ncontent-length: 999999999\r\n\r\n".into()),
        Piece::Endless(vec![b'x'; 64 << 10]),
    ];
    vec![
        Case::fails("301 elsewhere", redirect("301 Moved", &format!("http://{elsewhere}/2/powerstream")), "301"),
        Case::fails("302 elsewhere", redirect("302 Found", &format!("//{elsewhere}/")), "302"),
        Case::fails("307 to a malformed address", redirect("307 X", "\\\\:::%%%"), "307"),
        Case::fails("308 to a file", redirect("308 X", "file:///etc/passwd"), "308"),
        Case::fails("300 to itself", redirect("300 X", "/2/powerstream"), "300"),
        Case::fails("401 with a challenge", refusal("401 X", "www-authenticate: Basic realm=\"x\"\r\n", ""), "401"),
        Case::fails("407", refusal("407 X", "proxy-authenticate: Basic\r\n", ""), "407"),
        Case::fails("402", refusal("402 Payment Required", "", "{}"), "402"),
        Case::fails("429 until the year 9999", refusal("429 X", "x-rate-limit-reset: 253402300799\r\n", ""), "429"),
        Case::fails("429 with a wait of 2^64", refusal("429 X", "retry-after: 18446744073709551616\r\n", ""), "429"),
        Case::fails("429 with a negative wait", refusal("429 X", "retry-after: -1\r\n", "no JSON"), "429"),
        Case::fails("503 with a wait of a century", refusal("503 X", "retry-after: 3153600000\r\n", ""), "503"),
        Case::fails(
            "503 with a web page",
            refusal("503 X", "content-type: text/html\r\n", "<html><title>x</title>"),
            "503",
        ),
        Case::fails("503 with 10 MB", refusal("503 X", "", &long), "503"),
        Case::fails("503 without an end", Answer::new(unending, End::Hold), "503"),
        Case::fails("503 with a body that does not come", "HTTP/1.1 503 X\r\ncontent-length: 9\r\n\r\n", "503"),
        Case::fails("503 with deep JSON", refusal("503 X", "", &"[".repeat(60_000)), "503"),
        Case::fails(
            "400 with keys of other types",
            refusal("400 X", "", "{\"title\":[1],\"detail\":{\"a\":2},\"errors\":7}"),
            "400",
        ),
        Case::fails("403 that echoes the bearer", problem(&format!("Bearer {SECRET}")), "[secret]"),
        Case::fails("403 that echoes it in escapes", problem(&escaped), "[secret]"),
        Case::fails("403 that echoes it without escapes", problem(&format!("{SECRET} / {decoded}")), "[secret]"),
        Case::fails("403 that echoes it twice", problem(&format!("{SECRET}{SECRET}")), "[secret]"),
        Case::fails(
            "403 that echoes it in other fields",
            refusal(&format!("403 {SECRET}"), &format!("x-echo: {SECRET}\r\n"), "x"),
            "403",
        ),
        Case::fails("302 that echoes it", redirect("302 X", &format!("/?token={SECRET}")), "302"),
        Case::fails(
            "500 that echoes it in a web page",
            refusal("500 X", "", &format!("<title>{SECRET}</title>")),
            "[secret]",
        ),
    ]
}

/// Refusals whose texts drive a terminal, change the direction of text, or end within the bearer where they are cut.
pub fn texts() -> Vec<Case> {
    vec![
        Case::fails(
            "503 with escape sequences",
            refusal("503 X", "", "{\"title\":\"\u{2066}\",\"detail\":\"\\u001b[2J\\u009b\\u202e\"}"),
            "\\u{202e}",
        ),
        Case::fails(
            "503 with marks of direction",
            refusal("503 X", "x-transaction-id: \u{202e}\r\n", "\u{200f}x\u{61c}"),
            "\\u{61c}",
        ),
        Case::fails("503 with such a title", refusal("503 X", "", "<title>a\u{202e}b</title>"), "\\u{202e}"),
        Case::fails(
            "503 with a bearer at the bound",
            refusal("503 X", "", &format!("{}{SECRET}", "x".repeat(280))),
            "xxx",
        ),
    ]
}
