//! Frames that are allowed, in numbers that are not of use. They cost the sender as much as the gateway; what is over is
//! refused.

use super::super::frames::{
    ACK, DATA, END_STREAM, GOAWAY, INITIAL_WINDOW_SIZE, LIST_STREAMS, PING, PRIORITY, SETTINGS, SUBSCRIBE, cancel,
    data, fields, frame, headers, message, settings, window,
};
use super::super::scaled;
use super::super::wire::{Case, case};

fn opened(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, 0, &fields(path, "application/grpc"))
}

/// How often a frame is sent.
fn often() -> usize {
    scaled(2_000, 1_000_000) as usize
}

/// One after another.
pub fn cases() -> Vec<Case> {
    let changes: Vec<u8> =
        (0..often()).flat_map(|n| settings(&[(INITIAL_WINDOW_SIZE, 65_535 - u32::from(n % 2 == 0))])).collect();
    let priorities = |n: usize| {
        let (stream, on) = (1 + 2 * u32::try_from(n % 50).expect("small"), 1 + 2 * ((n as u32 + 1) % 50));
        frame(PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[255]].concat())
    };
    let loops: Vec<u8> = (0..often()).flat_map(priorities).collect();
    let streams = |count: usize| (0..count).map(|n| 1 + 2 * u32::try_from(n).expect("few"));
    let resets: Vec<u8> = streams(often()).flat_map(|n| [opened(n, LIST_STREAMS), cancel(n)].concat()).collect();
    let empty = frame(DATA, 0, 1, &[]).repeat(often());
    let padded = frame(DATA, 8, 1, &[255; 256]).repeat(often() / 4);
    let asked = |bytes: Vec<u8>| [opened(1, LIST_STREAMS), bytes, data(1, &message(&[]))].concat();
    vec![
        case("PINGs", frame(PING, 0, 0, &[1; 8]).repeat(often()), "open"),
        case("PING ACKs", frame(PING, ACK, 0, &[1; 8]).repeat(often()), "open"),
        case("SETTINGS", frame(SETTINGS, 0, 0, &[]).repeat(often()), "open"),
        case("SETTINGS that change the window", changes, "open"),
        case("SETTINGS ACKs", frame(SETTINGS, ACK, 0, &[]).repeat(often()), "GOAWAY PROTOCOL_ERROR"),
        case("PRIORITY loops", loops, "open"),
        case("frames of no known kind", frame(0xaa, 0, 0, &[1; 64]).repeat(often()), "open"),
        case("WINDOW_UPDATEs of one byte", window(0, 1).repeat(often()), "open"),
        case("calls that are cancelled", resets, "open"),
        case("empty DATA frames", asked(empty), "GOAWAY ENHANCE_YOUR_CALM"),
        case("DATA frames of padding", asked(padded), "GOAWAY ENHANCE_YOUR_CALM"),
        case("GOAWAYs", frame(GOAWAY, 0, 0, &[0; 8]).repeat(often()), "GOAWAY NO_ERROR"),
        case(
            "subscriptions without a message",
            streams(100).flat_map(|n| opened(n, SUBSCRIBE)).collect::<Vec<u8>>(),
            "Unavailable NOT_READY",
        ),
        case(
            "a window of 0 and calls",
            [
                settings(&[(INITIAL_WINDOW_SIZE, 0)]),
                streams(50)
                    .flat_map(|n| [opened(n, LIST_STREAMS), frame(DATA, END_STREAM, n, &message(&[]))].concat())
                    .collect(),
            ]
            .concat(),
            "open",
        ),
    ]
}
