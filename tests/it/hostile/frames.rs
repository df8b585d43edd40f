//! Frames of HTTP/2, well formed or not, and calls of gRPC made of them.

use powerstream_gateway::proto::SubscribeRequest;
use prost::Message;

/// What a client sends first (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags of frames.
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 32;

/// Settings of a connection (RFC 9113, 6.5.2).
pub const HEADER_TABLE_SIZE: u16 = 1;
pub const ENABLE_PUSH: u16 = 2;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;

/// Methods that cases call.
pub const SUBSCRIBE: &str = "/powerstream.gateway.v1.StreamService/Subscribe";
pub const LIST_STREAMS: &str = "/powerstream.gateway.v1.StreamService/ListStreams";
pub const LIST_TAGS: &str = "/powerstream.gateway.v1.StreamService/ListTags";
pub const GET_STREAM: &str = "/powerstream.gateway.v1.StreamService/GetStream";
pub const RESOLVE_POSITION: &str = "/powerstream.gateway.v1.StreamService/ResolvePosition";
pub const LIST_GAPS: &str = "/powerstream.gateway.v1.RecoveryService/ListGaps";
pub const LIST_JOBS: &str = "/powerstream.gateway.v1.RecoveryService/ListRecoveryJobs";
pub const GET_COVERAGE: &str = "/powerstream.gateway.v1.RecoveryService/GetCoverage";
pub const CREATE_JOB: &str = "/powerstream.gateway.v1.RecoveryService/CreateRecoveryJob";
pub const CANCEL_JOB: &str = "/powerstream.gateway.v1.RecoveryService/CancelRecoveryJob";
pub const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
pub const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";
pub const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// The longest payload of a frame that a server must take.
pub const PAYLOAD_MAX: usize = 16 << 10;

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&[high, middle, low, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// A SETTINGS frame.
pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let pairs = pairs.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    frame(SETTINGS, 0, 0, &pairs.collect::<Vec<u8>>())
}

/// A WINDOW_UPDATE frame.
pub fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

/// HPACK: a length or an index in a byte with so many bits free, and in more if it does not fit.
pub fn integer(first: u8, prefix: u32, value: usize) -> Vec<u8> {
    let most = (1 << prefix) - 1;
    if value < most {
        return vec![first | u8::try_from(value).expect("fits")];
    }
    let (mut bytes, mut left) = (vec![first | u8::try_from(most).expect("fits")], value - most);
    while left >= 0x80 {
        bytes.push(0x80 | u8::try_from(left & 0x7f).expect("fits"));
        left >>= 7;
    }
    bytes.push(u8::try_from(left).expect("fits"));
    bytes
}

/// HPACK: a literal without indexing, not Huffman-coded.
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0], integer(0, 7, name.len()).as_slice(), name, &integer(0, 7, value.len()), value].concat()
}

/// A gRPC message with its prefix.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    prefixed(0, u32::try_from(bytes.len()).expect("short"), bytes)
}

/// Bytes behind any prefix of a gRPC message.
pub fn prefixed(compressed: u8, length: u32, bytes: &[u8]) -> Vec<u8> {
    [&[compressed], &length.to_be_bytes()[..], bytes].concat()
}

/// The header fields of a call.
pub fn fields(path: &str, content_type: &str) -> Vec<u8> {
    block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gateway"),
        (":path", path),
        ("content-type", content_type),
        ("te", "trailers"),
    ])
}

/// A header block of these fields, in this order.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes())).collect()
}

/// A header block, in as many frames as it needs.
pub fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = block.chunks(PAYLOAD_MAX).collect();
    let of = |(n, piece): (usize, &&[u8])| {
        let kind = if n == 0 { HEADERS } else { CONTINUATION };
        let last = if n + 1 == pieces.len() { END_HEADERS } else { 0 };
        frame(kind, last | if n == 0 { flags } else { 0 }, stream, piece)
    };
    pieces.iter().enumerate().flat_map(of).collect()
}

/// DATA frames with all of this, the last of which ends the stream.
pub fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = if bytes.is_empty() { vec![&[]] } else { bytes.chunks(PAYLOAD_MAX).collect() };
    let of = |(n, piece): (usize, &&[u8])| {
        let flags = if n + 1 == pieces.len() { END_STREAM } else { 0 };
        frame(DATA, flags, stream, piece)
    };
    pieces.iter().enumerate().flat_map(of).collect()
}

/// The frames of a call with one message.
pub fn call(stream: u32, path: &str, request: &[u8]) -> Vec<u8> {
    [headers(stream, 0, &fields(path, "application/grpc")), data(stream, &message(request))].concat()
}

/// The frames of a subscription.
pub fn subscribe(stream: u32, request: &SubscribeRequest) -> Vec<u8> {
    call(stream, SUBSCRIBE, &request.encode_to_vec())
}

/// Cancels a stream.
pub fn cancel(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}
