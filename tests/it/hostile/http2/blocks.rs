//! Header blocks: what HPACK cannot be decoded from, what it grows to, and fields that HTTP forbids.

use super::super::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, HEADERS, LIST_STREAMS, PAYLOAD_MAX, block, call, data, fields, frame,
    headers, integer, literal, message,
};
use super::super::wire::{Case, case};

/// Pseudo-fields of a request that would be well formed.
const REQUEST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "gateway"), (":path", LIST_STREAMS)];
const CONTENT_TYPE: (&str, &str) = ("content-type", "application/grpc");

/// A call on stream 1 with this header block.
fn asked(block: &[u8]) -> Vec<u8> {
    [headers(1, 0, block), data(1, &message(&[]))].concat()
}

/// A well formed call with one more field.
fn with(name: &[u8], value: &[u8]) -> Vec<u8> {
    asked(&[fields(LIST_STREAMS, "application/grpc"), literal(name, value)].concat())
}

/// A request of these fields.
fn of(all: &[(&str, &str)]) -> Vec<u8> {
    asked(&block(all))
}

/// A well formed call without one of its pseudo-fields.
fn without(name: &str) -> Vec<u8> {
    let left: Vec<_> = REQUEST.into_iter().chain([CONTENT_TYPE]).filter(|(own, _)| *own != name).collect();
    of(&left)
}

/// All that can be wrong with them.
pub fn cases() -> Vec<Case> {
    [coding(), bombs(), forbidden()].into_iter().flatten().collect()
}

/// Blocks that cannot be decoded. The state of the decoder is lost, and the connection with it.
fn coding() -> Vec<Case> {
    let wrong = "GOAWAY PROTOCOL_ERROR";
    let good = fields(LIST_STREAMS, "application/grpc");
    let ended = |block: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, 1, block);
    vec![
        case("HPACK: index 0", ended(&[0x80]), wrong),
        case("HPACK: an index beyond the tables", ended(&integer(0x80, 7, 9_999)), wrong),
        case("HPACK: an integer without end", ended(&[0xff; 200]), wrong),
        case("HPACK: an integer that is cut off", ended(&[0xff]), wrong),
        case("HPACK: a text longer than the block", ended(&[0, 10, b'a']), wrong),
        case("HPACK: a name of 4 GiB", ended(&[0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f]), wrong),
        case("HPACK: the Huffman code of the end", ended(&[0, 0x84, 0xff, 0xff, 0xff, 0xff, 1, b'x']), wrong),
        case("HPACK: Huffman padding that is zero", ended(&[0, 0x81, 0x00, 1, b'x']), wrong),
        case("HPACK: a table larger than allowed", ended(&[integer(0x20, 5, 1 << 20), good.clone()].concat()), wrong),
        case("HPACK: another size within a block", ended(&[good, integer(0x20, 5, 0)].concat()), wrong),
        case("HPACK: an empty name", with(b"", b"x"), wrong),
    ]
}

/// Blocks that grow, or do not end: bounded by `grpc.header_bytes_max`.
fn bombs() -> Vec<Case> {
    // An entry of 3 KiB in the dynamic table, and then a byte for each time it is repeated.
    let entry = [&[0x40, 1, b'x'], integer(0, 7, 3_000).as_slice(), &[b'y'; 3_000]].concat();
    let bomb = [fields(LIST_STREAMS, "application/grpc"), entry, vec![0xbe; 10_000]].concat();
    let many: Vec<u8> = (0..2_000).flat_map(|n| literal(format!("x-{n}").as_bytes(), b"")).collect();
    let many = [fields(LIST_STREAMS, "application/grpc"), many].concat();
    let begun = frame(HEADERS, END_STREAM, 1, &fields(LIST_STREAMS, "application/grpc"));
    let empty = frame(CONTINUATION, 0, 1, &[]).repeat(5_000);
    let long = frame(CONTINUATION, 0, 1, &literal(b"x", &[b'y'; PAYLOAD_MAX - 8])).repeat(500);
    vec![
        case("HPACK bomb of 30 MB", asked(&bomb), "GOAWAY ENHANCE_YOUR_CALM"),
        case("2,000 fields", asked(&many), "GOAWAY ENHANCE_YOUR_CALM"),
        case("a field of 20 KB", with(b"x", &[b'y'; 20_000]), "HTTP 431"),
        case("a field of 1 MB", with(b"x", &[b'y'; 1 << 20]), "GOAWAY ENHANCE_YOUR_CALM"),
        case("5,000 empty CONTINUATION frames", [begun.clone(), empty].concat(), "GOAWAY ENHANCE_YOUR_CALM"),
        case("CONTINUATION frames of 8 MB", [begun, long].concat(), "GOAWAY ENHANCE_YOUR_CALM"),
    ]
}

/// Fields that HTTP/2 forbids (RFC 9113, 8.2 and 8.3): the stream is reset, and the connection continues except where the block
/// itself cannot be read.
fn forbidden() -> Vec<Case> {
    let (reset, closed) = ("RST PROTOCOL_ERROR", "GOAWAY PROTOCOL_ERROR");
    let [method, scheme, authority, path] = REQUEST;
    let trailers = |block: &[u8]| {
        let begun = headers(1, 0, &fields(LIST_STREAMS, "application/grpc"));
        [begun, headers(1, END_STREAM, block)].concat()
    };
    vec![
        case("an upper-case name", with(b"X-Upper", b"1"), closed),
        case("a name with a space", with(b"x y", b"1"), closed),
        case("a value with NUL", with(b"x", b"a\0b"), closed),
        case("a value with CR LF", with(b"x", b"a\r\nset-cookie: b"), closed),
        case("connection: close", with(b"connection", b"close"), reset),
        case("transfer-encoding: chunked", with(b"transfer-encoding", b"chunked"), reset),
        case("te: gzip", of(&[method, scheme, authority, path, CONTENT_TYPE, ("te", "gzip")]), reset),
        case("no :method", without(":method"), reset),
        case("no :scheme", without(":scheme"), reset),
        case("no :path", without(":path"), reset),
        case("no :authority", without(":authority"), "OK"),
        case("an empty :path", of(&[method, scheme, authority, (":path", ""), CONTENT_TYPE]), reset),
        case(":path twice", of(&[method, scheme, authority, path, path, CONTENT_TYPE]), reset),
        case(":status of a request", of(&[method, scheme, authority, path, (":status", "200"), CONTENT_TYPE]), reset),
        case("an unknown pseudo-field", of(&[method, scheme, authority, path, (":x", "1"), CONTENT_TYPE]), closed),
        case("a pseudo-field behind others", of(&[CONTENT_TYPE, method, scheme, authority, path]), reset),
        case("trailers with a pseudo-field", trailers(&block(&[method])), "InvalidArgument REQUEST_MALFORMED"),
        case(
            "trailers that do not end the stream",
            [asked_open(), headers(1, 0, &literal(b"x", b"1"))].concat(),
            reset,
        ),
        case("content-length of another length", with(b"content-length", b"7"), reset),
        case("content-length that is none", with(b"content-length", b"-1"), reset),
        case("CONNECT", of(&[(":method", "CONNECT"), authority, CONTENT_TYPE]), "HTTP 405"),
        case(
            "CONNECT with a protocol",
            of(&[(":method", "CONNECT"), (":protocol", "websocket"), scheme, authority, path]),
            reset,
        ),
        case("another call after a reset", [without(":method"), call(3, LIST_STREAMS, &[])].concat(), "OK").of(3),
    ]
}

/// A call whose stream is open for more.
fn asked_open() -> Vec<u8> {
    headers(1, 0, &fields(LIST_STREAMS, "application/grpc"))
}
