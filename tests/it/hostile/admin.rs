//! The admin port: requests that are none, that do not end, or that hold its places. `/livez` is answered during each.

use std::net::SocketAddr;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::scaled;
use super::stage::Stage;
use crate::harness::TestEnv;
use crate::harness::probe::get;

const HEADER_TIMEOUT: Duration = Duration::from_millis(500);
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECTIONS_MAX: usize = 8;
/// The longest time until a case has its outcome, and until `/livez` is answered during it.
const OUTCOME_MAX: Duration = Duration::from_secs(60);

fn tune(env: &mut TestEnv) {
    let admin = &mut env.settings.admin;
    (admin.header_timeout, admin.request_timeout) = (HEADER_TIMEOUT, EXCHANGE_TIMEOUT);
    (admin.connections_max, admin.scrapes_max) = (CONNECTIONS_MAX, 2);
}

/// What the port does with these bytes: the status of each answer, or that it closed the connection.
async fn outcome(address: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    // It may close before it has all of them.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let heads = answer.lines().filter_map(|line| line.strip_prefix("HTTP/1.")?.get(2..5));
    let statuses: Vec<&str> = heads.collect();
    if statuses.is_empty() { "closed".into() } else { statuses.join(" ") }
}

/// `/livez` is answered within the time that a kubelet gives it.
async fn alive(address: SocketAddr) -> Result<(), String> {
    match Clock::system().timeout(OUTCOME_MAX, get(address, "/livez")).await {
        Ok((200, _)) => Ok(()),
        other => Err(format!("/livez: {other:?}")),
    }
}

/// Requests, and what comes of them.
fn requests() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes();
    let with = |fields: &str| format!("GET /livez HTTP/1.1\r\nhost: x\r\n{fields}\r\n").into_bytes();
    let posted =
        |fields: &str, body: &str| format!("POST /livez HTTP/1.1\r\nhost: x\r\n{fields}\r\n{body}").into_bytes();
    let many: String = (0..300).map(|n| format!("x-{n}: 1\r\n")).collect();
    vec![
        ("nothing at all", Vec::new(), "closed"),
        ("half a request line", b"GET /liv".to_vec(), "closed"),
        ("a header that does not end", b"GET /livez HTTP/1.1\r\nhost: x\r\nx: ".to_vec(), "closed"),
        ("another path", get("/config"), "404"),
        ("path traversal", get("/../../../../etc/passwd"), "404"),
        ("path traversal with escapes", get("/%2e%2e/%2e%2e/etc/passwd"), "404"),
        ("a path with NUL", get("/livez\0"), "400"),
        ("a path of 12 KB", get(&format!("/{}", "x".repeat(12 << 10))), "404"),
        ("a path of 100 KB", get(&format!("/{}", "x".repeat(100 << 10))), "431"),
        ("a whole URL", get("http://elsewhere/livez"), "200"),
        ("a query", get("/livez?x=<script>"), "400"),
        ("a field of 100 KB", with(&format!("x: {}\r\n", "y".repeat(100 << 10))), "431"),
        ("300 fields", with(&many), "431"),
        ("a field without a name", with(": x\r\n"), "400"),
        ("a field with a line break in it", with("x: a\r\n b\r\n"), "400"),
        ("POST", posted("content-length: 1\r\n", "x"), "405"),
        ("DELETE", b"DELETE /metrics HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "405"),
        ("a method that there is not", b"ATTACK /livez HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "405"),
        ("CONNECT", b"CONNECT elsewhere:443 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "404"),
        ("a body that does not come", posted("content-length: 1000000\r\n", ""), "405"),
        ("a body of two lengths", posted("content-length: 1\r\ncontent-length: 2\r\n", "x"), "400"),
        (
            "a body of length and chunks",
            posted("content-length: 1\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            "405",
        ),
        ("a chunk of 2^64 bytes", posted("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\n"), "405"),
        ("two requests in one", get("/livez").repeat(2), "200"),
        ("100 requests in one", get("/metrics").repeat(100), "200"),
        ("HTTP/0.9", b"GET /livez\r\n\r\n".to_vec(), "400"),
        ("HTTP/1.0 without a host", b"GET /livez HTTP/1.0\r\n\r\n".to_vec(), "200"),
        ("HTTP/7", b"GET /livez HTTP/7.0\r\n\r\n".to_vec(), "400"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "closed"),
        ("TLS ClientHello", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], "closed"),
        ("64 KB of zeros", vec![0; 64 << 10], "400"),
    ]
}

/// Sends a byte of a header now and then, until the port has enough.
async fn drips(address: SocketAddr, path: &str) -> Result<(), String> {
    let clock = Clock::system();
    let mut socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let mut line = format!("GET {path} HTTP/1.1\r\nx: ").into_bytes();
    line.extend([b'y'; 200]);
    let dripping = async {
        for byte in line {
            let mut answer = [0; 512];
            let read = clock.timeout(Duration::from_millis(50), socket.read(&mut answer)).await;
            if read.is_ok() || socket.write_all(&[byte]).await.is_err() {
                return true;
            }
        }
        false
    };
    if dripping.await { Ok(()) } else { Err("it is suffered".into()) }
}

/// All places held, by more connections than there are, while probes are answered.
async fn crowd(address: SocketAddr, first: &[u8], read: bool) -> Result<(), String> {
    let mut held = Vec::new();
    for _ in 0..scaled(10 * CONNECTIONS_MAX as u32, 20_000) {
        let mut socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let _ = socket.write_all(first).await;
        if read {
            let _ = Clock::system().timeout(Duration::from_millis(1), socket.read(&mut [0; 16])).await;
        }
        held.push(socket);
        if held.len() % 20 == 0 {
            alive(address).await?;
        }
    }
    alive(address).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_attacks_leave_probes_answered() {
    let mut stage = Stage::open(tune).await;
    let address = stage.admin();
    for (name, bytes, expected) in requests() {
        let attack = async {
            let found = Clock::system().timeout(OUTCOME_MAX, outcome(address, &bytes)).await;
            alive(address).await?;
            let found = found.unwrap_or_else(|_| "nothing".into());
            if found == expected { Ok(()) } else { Err(format!("{found}, not {expected}")) }
        };
        stage.play(name, attack).await;
    }
    stage.play("a header byte by byte", drips(address, "/livez")).await;
    stage.play("a scrape byte by byte", drips(address, "/metrics")).await;
    let scrape = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".as_slice();
    for (name, first, read) in [
        ("a crowd that sends nothing", b"".as_slice(), false),
        ("a crowd of half requests", b"GET /livez HTTP/1.1\r\nx: ", false),
        ("a crowd of scrapes that are not read", scrape, false),
        ("a crowd of scrapes that are read slowly", scrape, true),
    ] {
        stage.play(name, crowd(address, first, read)).await;
    }
    stage.end("admin", 35).await;
}
