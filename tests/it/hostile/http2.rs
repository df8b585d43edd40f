//! Frames that no client sends. A fault of a connection ends that connection, a fault of a stream that stream, each with the
//! code of RFC 9113; what is only useless is read.

mod blocks;
mod floods;
mod malformed;

use std::net::SocketAddr;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::frames::{PING, PREFACE, frame, settings};
use super::h2::MARK;
use super::stage::Stage;
use super::wire::{Case, case, play};
use crate::harness::TestEnv;

/// How long a connection may take to send its preface.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(1);

fn tune(env: &mut TestEnv) {
    let settings = &mut env.settings;
    settings.grpc.preface_timeout = FIRST_BYTES_TIMEOUT;
    settings.grpc.unary_timeout = Duration::from_secs(2);
    settings.grpc.streams_per_connection_max = 100;
}

/// What comes before a connection has begun.
fn beginnings() -> Vec<Case> {
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], [7; 508].as_slice()].concat();
    let mut wrong = PREFACE.to_vec();
    wrong[23] = b'!';
    let http1 = "GET / HTTP/1.1\r\nhost: gateway\r\n";
    vec![
        case("nothing at all", [], "closed"),
        case("half a preface", &PREFACE[..12], "closed"),
        case("a preface without its last byte", &PREFACE[..23], "closed"),
        case("a preface with a wrong end", wrong, "closed"),
        case("HTTP/1 GET", format!("{http1}\r\n"), "closed"),
        case("HTTP/1 upgrade", format!("{http1}connection: upgrade\r\nupgrade: h2c\r\n\r\n"), "closed"),
        case("TLS ClientHello", hello, "closed"),
        case("zeros", [0; 4_096], "closed"),
    ]
}

/// Asks again and again, and reads no answer: it is read only as far as answers go.
async fn pings_without_reading(address: SocketAddr) -> Result<(), String> {
    const TAKEN_MAX: usize = 64 << 20;
    let mut socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let (first, pings) = ([PREFACE, &settings(&[])].concat(), frame(PING, 0, 0, &MARK).repeat(4_000));
    socket.write_all(&first).await.map_err(|error| error.to_string())?;
    let mut taken = 0;
    while taken < TAKEN_MAX {
        match Clock::system().timeout(FIRST_BYTES_TIMEOUT, socket.write(&pings)).await {
            Ok(Ok(count)) => taken += count,
            // It is closed, or not read any more.
            Ok(Err(_)) | Err(_) => return Ok(()),
        }
    }
    Err(format!("{taken} bytes are read"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_attacks_end_by_rfc() {
    let mut stage = Stage::open(tune).await;
    play(&mut stage, beginnings(), false).await;
    for cases in [malformed::frames(), malformed::streams(), blocks::cases(), floods::cases()] {
        play(&mut stage, cases, true).await;
    }
    stage.play("PINGs whose answers are not read", pings_without_reading(stage.grpc())).await;
    stage.end("http2", 75).await;
}
