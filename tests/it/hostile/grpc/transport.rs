//! What stands around a request: path, content type, message prefix, compression, metadata.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::frames::{
    END_STREAM, LIST_STREAMS, SUBSCRIBE, block, data, fields, headers, literal, message, prefixed,
};
use super::super::wire::{Case, case};

const GRPC: &str = "application/grpc";
/// Decompressed bytes of a bomb: far more than `grpc.request_bytes_max`.
const BOMB_BYTES: usize = 64 << 20;

/// A call with this body, whatever it is.
fn call(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    [headers(1, 0, &fields(path, content_type)), data(1, body)].concat()
}

/// A call of ListStreams with one more field.
fn with(name: &str, value: &str, body: &[u8]) -> Vec<u8> {
    let block = [fields(LIST_STREAMS, GRPC), literal(name.as_bytes(), value.as_bytes())].concat();
    [headers(1, 0, &block), data(1, body)].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory")
}

/// Paths, methods and content types.
pub fn envelopes() -> Vec<Case> {
    let (unimplemented, empty) = ("Unimplemented UNIMPLEMENTED", message(&[]));
    let path = |path: &str| call(path, GRPC, &empty);
    let of_type = |content_type: &str| call(LIST_STREAMS, content_type, &empty);
    let method = |method: &str| {
        let block = block(&[
            (":method", method),
            (":scheme", "http"),
            (":authority", "gateway"),
            (":path", LIST_STREAMS),
            ("content-type", GRPC),
        ]);
        [headers(1, 0, &block), data(1, &empty)].concat()
    };
    let typeless = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", LIST_STREAMS)];
    vec![
        case("content type text/html", of_type("text/html"), "HTTP 415"),
        case("content type of grpc-web", of_type("application/grpc-web+proto"), "HTTP 415"),
        case("content type of JSON", of_type("application/grpc+json"), "HTTP 415"),
        case("an empty content type", of_type(""), "HTTP 415"),
        case("a content type of 8 KB", of_type(&"application/grpc".repeat(500)), "HTTP 415"),
        case("no content type", [headers(1, 0, &block(&typeless)), data(1, &empty)].concat(), "HTTP 415"),
        case("a charset", of_type("application/grpc; charset=utf-8"), "OK"),
        case("GET", method("GET"), "HTTP 405"),
        case("PROPFIND", method("PROPFIND"), "HTTP 405"),
        case("the path /", path("/"), unimplemented),
        case("no such service", path("/unknown.Service/Method"), unimplemented),
        case("no such method", path("/powerstream.gateway.v1.StreamService/Nothing"), unimplemented),
        case("a method in lower case", path("/powerstream.gateway.v1.streamservice/subscribe"), unimplemented),
        case("path traversal", path("/../../../../etc/passwd"), unimplemented),
        case("a path with escapes", path("/powerstream.gateway.v1.StreamService/%53ubscribe"), unimplemented),
        case("a path of 12 KB", path(&format!("/{}", "x".repeat(12 << 10))), unimplemented),
        case("a query", path(&format!("{LIST_STREAMS}?account=main")), "OK"),
        case("a whole URL as the path", path("http://gateway/x"), "RST PROTOCOL_ERROR"),
        case("a path without a slash", path("x"), "RST PROTOCOL_ERROR"),
    ]
}

/// Messages and their prefixes.
pub fn messages() -> Vec<Case> {
    let (malformed, too_long) = ("InvalidArgument REQUEST_MALFORMED", "InvalidArgument FILTER_INVALID");
    let body = |body: &[u8]| call(LIST_STREAMS, GRPC, body);
    let encoded = |name: &str, bytes: &[u8]| with("grpc-encoding", name, bytes);
    let packed = |bytes: &[u8]| prefixed(1, bytes.len() as u32, bytes);
    let bomb = gzip(&vec![0; BOMB_BYTES]);
    let zstd = zstd::encode_all([0_u8; 1 << 20].repeat(64).as_slice(), 3).expect("memory");
    let nested = [0x0b; 20_000];
    vec![
        case("no message", headers(1, END_STREAM, &fields(LIST_STREAMS, GRPC)), malformed),
        case("a message of no bytes", body(&message(&[])), "OK"),
        case("three bytes of a prefix", body(&[0, 0, 0]), malformed),
        case("a prefix alone", body(&prefixed(0, 7, &[])), malformed),
        case("a message that is cut off", body(&prefixed(0, 100, &[0; 50])), malformed),
        case("a message of 4 GiB", body(&prefixed(0, u32::MAX, &[0; 10])), too_long),
        case("a message one byte too long", body(&prefixed(0, (1 << 20) + 1, &[])), too_long),
        case("900 KB of 2 MiB", body(&prefixed(0, 2 << 20, &vec![0; 900_000])), too_long),
        case("bytes behind a message", body(&[message(&[]), vec![0xff; 100]].concat()), malformed),
        case("two messages", body(&message(&[]).repeat(2)), "OK"),
        case("10,000 messages", body(&message(&[]).repeat(10_000)), "OK"),
        case("compressed without an encoding", body(&packed(&gzip(b""))), malformed),
        case("a compression flag of 255", body(&prefixed(255, 0, &[])), malformed),
        case("an encoding that there is not", encoded("br", &message(&[])), "Unimplemented UNIMPLEMENTED"),
        case("an encoding of 4 KB", encoded(&"gzip,".repeat(800), &message(&[])), "Unimplemented UNIMPLEMENTED"),
        case("gzip", encoded("gzip", &packed(&gzip(b""))), "OK"),
        case("gzip that is none", encoded("gzip", &packed(b"no gzip at all")), malformed),
        case("gzip that is cut off", encoded("gzip", &packed(&gzip(&[7; 5_000])[..20])), malformed),
        case("gzip of no bytes", encoded("gzip", &packed(b"")), malformed),
        case("a gzip bomb", encoded("gzip", &packed(&bomb)), too_long),
        case("gzip within gzip", encoded("gzip", &packed(&gzip(&bomb))), malformed),
        case("a zstd bomb", encoded("zstd", &packed(&zstd)), too_long),
        case("zstd that is none", encoded("zstd", &packed(&[0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff])), malformed),
        case("no protobuf", body(&message(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")), malformed),
        // Field 2 of ListStreamsRequest is text.
        case("a field of the wrong type", body(&message(&[0x10, 0x01])), malformed),
        case("a length beyond the message", body(&message(&[0x12, 0x7f, b'x'])), malformed),
        case("a length of 2^63", body(&message(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f")), malformed),
        case("text that is no UTF-8", body(&message(&[0x12, 2, 0xff, 0xfe])), malformed),
        case("field number 0", body(&message(&[0x02, 0])), malformed),
        case("20,000 groups, one in the other", body(&message(&nested)), malformed),
        case("1 MB of unknown fields", body(&message(&[0x78, 1].repeat(500_000))), "OK"),
    ]
}

/// Fields of the header.
pub fn metadata() -> Vec<Case> {
    let empty = message(&[]);
    let timeout = |value: &str| with("grpc-timeout", value, &empty);
    let begun = |value: &str| {
        let block = [fields(SUBSCRIBE, GRPC), literal(b"grpc-timeout", value.as_bytes())].concat();
        // account = "main"
        [headers(1, 0, &block), data(1, &message(b"\x0a\x04main"))].concat()
    };
    let many: Vec<u8> = (0..100).flat_map(|n| literal(b"x-many", format!("{n}").as_bytes())).collect();
    let many = [fields(LIST_STREAMS, GRPC), many].concat();
    vec![
        case("grpc-timeout: nonsense", timeout("soon"), "OK"),
        case("grpc-timeout: negative", timeout("-1S"), "OK"),
        case("grpc-timeout of 20 digits", timeout("99999999999999999999S"), "OK"),
        case("grpc-timeout of 11,415 years", timeout("99999999H"), "OK"),
        case("a session with grpc-timeout 0n", begun("0n"), "DeadlineExceeded STREAM_DEADLINE"),
        case("a session with grpc-timeout 100m", begun("100m"), "DeadlineExceeded STREAM_DEADLINE"),
        case("a session with grpc-timeout 99999999H", begun("99999999H"), "open"),
        case("a session with grpc-timeout: nonsense", begun("\u{7e}\u{7e}"), "open"),
        case("binary metadata that is no base64", with("x-data-bin", "***", &empty), "OK"),
        case("authorization of 10 KB", with("authorization", &"B".repeat(10_000), &empty), "OK"),
        case("the same name 100 times", [headers(1, 0, &many), data(1, &empty)].concat(), "OK"),
        case("grpc-status of a client", with("grpc-status", "0", &empty), "OK"),
        case("a malformed grpc-accept-encoding", with("grpc-accept-encoding", ",,;;gzip;q=x,", &empty), "OK"),
        case("expect: 100-continue", with("expect", "100-continue", &empty), "OK"),
    ]
}
