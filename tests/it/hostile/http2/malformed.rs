//! Frames with wrong lengths, flags, streams and values. The library reports wrong lengths as PROTOCOL_ERROR, too, and
//! takes some faults of a stream for faults of the connection: both are within RFC 9113, 5.4 and 7.

use super::super::frames::{
    ACK, CONTINUATION, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, LIST_STREAMS,
    MAX_FRAME_SIZE, PADDED, PAYLOAD_MAX, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    WITH_PRIORITY, call, cancel, data, fields, frame, headers, message, settings, window,
};
use super::super::wire::{Case, case};

/// The largest window (RFC 9113, 6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;

fn opened(stream: u32) -> Vec<u8> {
    headers(stream, 0, &fields(LIST_STREAMS, "application/grpc"))
}

/// Frames of a connection.
pub fn frames() -> Vec<Case> {
    let protocol = "GOAWAY PROTOCOL_ERROR";
    vec![
        case("SETTINGS of five bytes", frame(SETTINGS, 0, 0, &[0; 5]), protocol),
        case("SETTINGS of a stream", frame(SETTINGS, 0, 1, &[]), protocol),
        case("SETTINGS ACK with a payload", frame(SETTINGS, ACK, 0, &[0; 6]), protocol),
        case("SETTINGS with too large a window", settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]), protocol),
        case("SETTINGS with too small a frame", settings(&[(MAX_FRAME_SIZE, 1)]), protocol),
        case("SETTINGS with too large a frame", settings(&[(MAX_FRAME_SIZE, u32::MAX)]), protocol),
        case("SETTINGS with a push of 2", settings(&[(ENABLE_PUSH, 2)]), protocol),
        case("SETTINGS that are not known", settings(&[(0xff, 7), (0, 0)]), "open"),
        case("SETTINGS ACK for nothing", frame(SETTINGS, ACK, 0, &[]).repeat(3), protocol),
        case("PING of seven bytes", frame(PING, 0, 0, &[0; 7]), protocol),
        case("PING of a stream", frame(PING, 0, 1, &[0; 8]), protocol),
        case("PING ACK for nothing", frame(PING, ACK, 0, &[0; 8]), "open"),
        case("GOAWAY of four bytes", frame(GOAWAY, 0, 0, &[0; 4]), protocol),
        case("GOAWAY of a stream", frame(GOAWAY, 0, 1, &[0; 8]), protocol),
        case("PUSH_PROMISE of a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]), protocol),
        case("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &[]), protocol),
        case("a frame longer than allowed", frame(DATA, 0, 1, &[0; PAYLOAD_MAX + 1]), "GOAWAY FRAME_SIZE_ERROR"),
        case("a frame of 16 MiB", [0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1], "GOAWAY FRAME_SIZE_ERROR"),
        case("a frame of no known kind", frame(0xfe, 0xff, 77, &[1; 100]), "open"),
        case("WINDOW_UPDATE of 0", window(0, 0), protocol),
        case("WINDOW_UPDATE of three bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), protocol),
        case("WINDOW_UPDATE beyond the largest", window(0, WINDOW_MAX), "GOAWAY FLOW_CONTROL_ERROR"),
        case("WINDOW_UPDATE of an idle stream", window(5, 1), protocol),
        case("RST_STREAM of the connection", frame(RST_STREAM, 0, 0, &[0; 4]), protocol),
        case("RST_STREAM of an idle stream", cancel(5), protocol),
        case("RST_STREAM of three bytes", [opened(1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(), protocol),
        case("PRIORITY of four bytes", frame(PRIORITY, 0, 1, &[0; 4]), protocol),
        case("PRIORITY of the connection", frame(PRIORITY, 0, 0, &[0; 5]), protocol),
        case("HEADERS of the connection", frame(HEADERS, END_HEADERS | END_STREAM, 0, &[0x83]), protocol),
        case("HEADERS of an even stream", headers(2, END_STREAM, &[0x83, 0x86, 0x84]), protocol),
        case("HEADERS of an earlier stream", [opened(7), opened(5)].concat(), protocol),
        case("HEADERS with more padding than payload", frame(HEADERS, END_HEADERS | PADDED, 1, &[9, 0x83]), protocol),
        case("HEADERS with half a priority", frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, &[0; 3]), protocol),
        case("HEADERS between HEADERS and CONTINUATION", [frame(HEADERS, 0, 1, &[0x83]), opened(3)].concat(), protocol),
        case(
            "PING within a header block",
            [frame(HEADERS, 0, 1, &[0x83]), frame(PING, 0, 0, &[0; 8])].concat(),
            protocol,
        ),
        case(
            "no known frame within a header block",
            [frame(HEADERS, 0, 1, &[0x83]), frame(0xfe, 0, 1, &[])].concat(),
            protocol,
        ),
        case(
            "CONTINUATION of another stream",
            [frame(HEADERS, 0, 1, &[0x83]), frame(CONTINUATION, 4, 3, &[])].concat(),
            protocol,
        ),
        case("DATA of the connection", frame(DATA, 0, 0, b"x"), protocol),
        case("DATA of an idle stream", frame(DATA, 0, 1, b"x"), protocol),
        case("DATA with more padding than payload", [opened(1), frame(DATA, PADDED, 1, &[200, 0])].concat(), protocol),
    ]
}

/// Frames of streams: the connection continues.
pub fn streams() -> Vec<Case> {
    let ended = call(1, LIST_STREAMS, &[]);
    vec![
        case("DATA after the end", [ended.clone(), data(1, b"more")].concat(), "GOAWAY PROTOCOL_ERROR"),
        case("HEADERS after the end", [ended.clone(), opened(1)].concat(), "RST PROTOCOL_ERROR"),
        case("WINDOW_UPDATE of 0 for a stream", [opened(1), window(1, 0)].concat(), "GOAWAY PROTOCOL_ERROR"),
        case(
            "WINDOW_UPDATE of a stream beyond the largest",
            [opened(1), window(1, WINDOW_MAX)].concat(),
            "RST FLOW_CONTROL_ERROR",
        ),
        case("WINDOW_UPDATE after the end", [ended.clone(), window(1, 9)].concat(), "OK"),
        case("PRIORITY after the end", [ended.clone(), frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])].concat(), "OK"),
        case("PRIORITY of an idle stream", [frame(PRIORITY, 0, 9, &[0, 0, 0, 3, 1]), ended.clone()].concat(), "OK"),
        case("cancelled and used again", [opened(1), cancel(1), data(1, &message(&[]))].concat(), "RST STREAM_CLOSED"),
        case("GOAWAY and a call", [frame(GOAWAY, 0, 0, &[0; 8]), ended.clone()].concat(), "GOAWAY NO_ERROR"),
        case(
            "a stream beyond the allowed",
            (0..=100).flat_map(|n| opened(1 + 2 * n)).collect::<Vec<u8>>(),
            "RST REFUSED_STREAM",
        )
        .of(201),
        case("a response that is cancelled at once", [ended, cancel(1)].concat(), "open"),
    ]
}
