use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::Clock;
use crate::xapi::{BodyError, BodyErrorKind};

mod closing;
mod tls;

/// Timeout of every wait in these tests, far above any expected duration.
const DEADLINE: Duration = Duration::from_secs(60);
const BEARER: &str = "bearer-of-test";

fn request(base_url: &str) -> StreamRequest {
    StreamRequest {
        base_url: base_url.parse().expect("a URL"),
        bearer: Secret::new(BEARER.to_owned()),
        local_dc_only: false,
        backfill_minutes: None,
        window: None,
    }
}

fn client() -> Client {
    let options = ClientOptions { connect_timeout: DEADLINE, proxy: None, ca_file: None };
    Client::new(&options, &Clock::system()).expect("a client")
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Accepts one connection and reads the head of one request.
async fn accept(listener: &TcpListener) -> (TcpStream, String) {
    let (mut socket, _) = listener.accept().await.expect("a connection");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("a request"));
    }
    (socket, String::from_utf8(head).expect("text"))
}

async fn send(socket: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    socket.write_all(bytes.as_ref()).await.expect("sent");
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

async fn next(response: &mut Response) -> Option<Result<Bytes, BodyError>> {
    Clock::system().timeout(DEADLINE, response.body.next()).await.expect("in time")
}

/// Connects to a server that sends these bytes and then closes.
async fn answered(bytes: &[u8]) -> (Result<Response, TransportError>, String) {
    let (listener, address) = listen().await;
    let (client, request) = (client(), request(&format!("http://{address}")));
    let (response, head) = tokio::join!(client.connect(&request), async {
        let (mut socket, head) = accept(&listener).await;
        send(&mut socket, bytes).await;
        head
    });
    (response, head)
}

#[tokio::test]
async fn request_is_what_x_documents() {
    let (response, head) =
        answered(b"HTTP/1.1 200 OK\r\nx-powerstream-datacenter: atla\r\ncontent-length: 2\r\n\r\n\r\n").await;
    let host = head.lines().find(|line| line.starts_with("host: 127.0.0.1:")).expect("a host");
    let expected = [
        "GET /2/powerstream HTTP/1.1",
        "accept-encoding: gzip",
        "authorization: Bearer bearer-of-test",
        "accept: */*",
        &format!("user-agent: powerstream-gateway/{}", env!("CARGO_PKG_VERSION")),
        host,
    ];
    assert_eq!(head, format!("{}\r\n\r\n", expected.join("\r\n")));
    let mut response = response.expect("an answer");
    assert_eq!((response.status, response.headers.datacenter.as_deref()), (200, Some("atla")));
    assert_eq!(next(&mut response).await, Some(Ok(Bytes::from_static(b"\r\n"))));
    assert_eq!(next(&mut response).await, None);
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let (elsewhere, address) = listen().await;
    let answer = format!("HTTP/1.1 302 Found\r\nlocation: http://{address}/\r\ncontent-length: 0\r\n\r\n");
    let (response, _) = answered(answer.as_bytes()).await;
    assert_eq!(response.expect("an answer").status, 302);
    assert!(elsewhere.accept().now_or_never().is_none(), "the redirect target got no connection");
}

#[tokio::test]
async fn flushed_gzip_message_is_delivered_at_once() {
    let (listener, address) = listen().await;
    let (client, request) = (client(), request(&format!("http://{address}")));
    let (response, mut socket) = tokio::join!(client.connect(&request), async {
        let (mut socket, _) = accept(&listener).await;
        send(&mut socket, "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n").await;
        socket
    });
    let mut response = response.expect("an answer");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for length in [2, 40, 3_000, 2, 70_000, 1] {
        let message = vec![b'x'; length];
        encoder.write_all(&message).expect("encoded");
        encoder.flush().expect("a sync flush");
        send(&mut socket, chunk(&std::mem::take(encoder.get_mut()))).await;
        let mut got = 0;
        while got < length {
            got += next(&mut response).await.expect("more").expect("bytes").len();
        }
        assert_eq!(got, length, "the whole message arrives before the next is sent");
    }
    send(&mut socket, chunk(&encoder.finish().expect("encoded"))).await;
    send(&mut socket, "0\r\n\r\n").await;
    assert_eq!(next(&mut response).await, None);
}

#[tokio::test]
async fn gzip_bomb_comes_in_small_pieces() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b' '; 64 << 20]).expect("encoded");
    let bomb = encoder.finish().expect("encoded");
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
    let (response, _) = answered(&[head.as_bytes(), &bomb].concat()).await;
    let mut response = response.expect("an answer");
    let mut total = 0;
    while let Some(piece) = next(&mut response).await {
        let piece = piece.expect("bytes");
        assert!(piece.len() <= 64 << 10, "{}", piece.len());
        total += piece.len();
    }
    assert_eq!(total, 64 << 20);
}

#[tokio::test]
async fn truncated_body_differs_from_clean_end() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (body, expected) in [("3\r\nabc\r\n0\r\n\r\n", None), ("3\r\nabc\r\n", Some(())), ("8\r\nabc", Some(()))] {
        let (response, _) = answered(format!("{head}{body}").as_bytes()).await;
        let mut response = response.expect("an answer");
        assert_eq!(next(&mut response).await, Some(Ok(Bytes::from_static(b"abc"))), "{body}");
        let end = next(&mut response).await.map(|end| end.expect_err("an end").kind);
        assert_eq!(end, expected.map(|()| BodyErrorKind::Cut), "{body}");
    }
    let (response, _) = answered(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nabcde").await;
    let end = next(&mut response.expect("an answer")).await;
    assert_eq!(end.expect("an end").expect_err("no gzip").kind, BodyErrorKind::Undecodable);
}

#[tokio::test]
async fn errors_name_failure_without_bearer() {
    let (listener, address) = listen().await;
    drop(listener);
    let check = |error: TransportError, kind: ErrorKind| {
        assert_eq!(error.kind, kind, "{error}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(BEARER) && !shown.contains("startTime"), "{shown}");
    };
    let mut refused = request(&format!("http://{address}"));
    refused.window = Some(crate::xapi::StreamWindow { from: Default::default(), to: Default::default() });
    check(client().connect(&refused).await.err().expect("refused"), ErrorKind::Connect);
    check(answered(b"").await.0.err().expect("cut"), ErrorKind::Reset);
    check(answered(format!("{BEARER}\r\n\r\n").as_bytes()).await.0.err().expect("no HTTP"), ErrorKind::Protocol);
    let (listener, address) = listen().await;
    let (client, request) = (client(), request(&format!("https://{address}")));
    let (response, ()) = tokio::join!(client.connect(&request), async {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        send(&mut socket, "HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    check(response.err().expect("no TLS"), ErrorKind::Tls);
}

#[tokio::test]
async fn failure_after_connect_is_classified() {
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(2 << 20));
    for (reads, bytes, expected) in [
        (false, "", ErrorKind::Reset),
        (true, "HTTP/1.1 200", ErrorKind::Reset),
        (true, "HTTP/1.1 200 OK\r\ndate: today\r\n", ErrorKind::Reset),
        (false, "SSH-2.0-OpenSSH_9.9\r\n", ErrorKind::Protocol),
        (true, "SSH-2.0-OpenSSH_9.9\r\n", ErrorKind::Protocol),
        (true, "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", ErrorKind::Protocol),
        (true, &endless, ErrorKind::Protocol),
    ] {
        let (listener, address) = listen().await;
        let (client, request) = (client(), request(&format!("http://{address}")));
        let (response, _socket) = tokio::join!(client.connect(&request), async {
            let mut socket =
                if reads { accept(&listener).await.0 } else { listener.accept().await.expect("a connection").0 };
            // The client closes before the end of a head that is too long.
            let sent = socket.write_all(bytes.as_bytes()).await;
            assert!(sent.is_ok() || bytes.len() > 1 << 20);
            // Without bytes the socket is closed with the request unread, which resets it.
            (expected == ErrorKind::Protocol).then_some(socket)
        });
        let error = response.err().expect("no response");
        assert_eq!(error.kind, expected, "{:?}: {error}", &bytes[..bytes.len().min(40)]);
    }
}

#[tokio::test]
async fn bearer_needs_tls_or_loopback() {
    for (url, allowed) in [
        ("https://api.x.com", true),
        ("http://127.0.0.1:1", true),
        ("http://127.9.9.9", true),
        ("http://[::1]:1", true),
        ("http://localhost:1", true),
        ("http://api.x.com", false),
        ("http://localhost.example.com", false),
        ("http://192.0.2.1", false),
        ("ftp://127.0.0.1", false),
        ("https://user:pass@api.x.com", false),
    ] {
        assert_eq!(check_origin(&url.parse().expect("a URL")).is_ok(), allowed, "{url}");
    }
    let error = client().connect(&request("http://192.0.2.1")).await.err().expect("refused");
    assert_eq!(error.kind, ErrorKind::NotAllowed);
}

#[tokio::test]
async fn proxy_tunnels_https_only() {
    let (proxy, proxy_address) = listen().await;
    let (server, address) = listen().await;
    let proxy_url = format!("http://{proxy_address}").parse().expect("a URL");
    let options = ClientOptions { connect_timeout: DEADLINE, proxy: Some(proxy_url), ca_file: None };
    let client = Client::new(&options, &Clock::system()).expect("a client");
    let plain = request(&format!("http://{address}"));
    let (response, ()) = tokio::join!(client.connect(&plain), async {
        let (mut socket, _) = accept(&server).await;
        send(&mut socket, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    });
    assert_eq!(response.expect("an answer").status, 200);
    let secure = request("https://api.example.com");
    let (response, head) = tokio::join!(client.connect(&secure), async {
        let (mut socket, head) = accept(&proxy).await;
        send(&mut socket, "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
        head
    });
    let host = "api.example.com:443";
    let user_agent = format!("user-agent: powerstream-gateway/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(head, format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n{user_agent}\r\n\r\n"));
    assert!(response.err().expect("no tunnel").kind.is_network());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, "no certificate").expect("written");
    let options = |proxy: Option<&str>, ca_file: Option<PathBuf>| ClientOptions {
        connect_timeout: DEADLINE,
        proxy: proxy.map(|url| url.parse().expect("a URL")),
        ca_file,
    };
    let refused = |options| Client::new(&options, &Clock::system()).err().map(|error| error.to_string());
    let error = refused(options(None, Some(path.clone()))).expect("refused");
    assert!(error.contains("ca.pem") && error.contains("no certificate"), "{error}");
    assert!(refused(options(None, Some(dir.path().join("absent")))).is_some());
    assert!(refused(options(Some("http://user:pass@192.0.2.1:3128"), None)).is_some());
    assert!(refused(options(Some("socks5://192.0.2.1:3128"), None)).is_some());
    assert!(refused(options(Some("http://192.0.2.1:3128"), None)).is_none());
}

#[tokio::test]
async fn data_before_disconnect_is_delivered_first() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&[b'x'; 100]).expect("encoded");
    encoder.flush().expect("a sync flush");
    let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n";
    // Either the connection ends, or the body ends within its gzip member, which is an ordinary end.
    for (end, expected) in [("", Some(BodyErrorKind::Cut)), ("0\r\n\r\n", None)] {
        let wire = [head.as_bytes(), &chunk(encoder.get_ref()), end.as_bytes()].concat();
        let (response, _) = answered(&wire).await;
        let mut response = response.expect("an answer");
        let mut got = 0;
        let error = loop {
            match next(&mut response).await {
                Some(Ok(piece)) => got += piece.len(),
                Some(Err(error)) => break Some(error.kind),
                None => break None,
            }
        };
        assert_eq!((got, error), (100, expected), "{end}");
    }
}

/// The reader takes all that was received in one batch, without a turn of another task in between.
#[tokio::test]
async fn received_chunks_are_ready_at_once() {
    let chunks: Vec<_> = (0..200).flat_map(|number: u32| chunk(number.to_string().as_bytes())).collect();
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (response, _) = answered(&[head.as_bytes(), &chunks].concat()).await;
    let mut response = response.expect("an answer");
    for number in 0..200 {
        // Only the first one may have to wait.
        let piece = if number == 0 { next(&mut response).await } else { response.body.next().now_or_never().flatten() };
        assert_eq!(piece, Some(Ok(Bytes::from(number.to_string()))));
    }
}

/// A coding in any spelling of its name, in any form of the header, or one that was not requested (fault 07).
#[tokio::test]
async fn content_coding_in_any_spelling_is_decoded() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"hello").expect("encoded");
    let gzip = encoder.finish().expect("encoded");
    let check = async |lines: &str, body: &[u8], expected: Result<&'static str, &str>| {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}content-length: {}\r\n\r\n", body.len());
        let (response, _) = answered(&[head.as_bytes(), body].concat()).await;
        let piece = next(&mut response.expect("an answer")).await.expect("a piece");
        match (piece, expected) {
            (Ok(piece), Ok(text)) => assert_eq!(piece, text, "{lines}"),
            (Err(error), Err(name)) => {
                assert!(error.kind == BodyErrorKind::Undecodable && error.detail.contains(name), "{lines}: {error}");
            }
            (piece, _) => panic!("{lines}: {piece:?}"),
        }
    };
    for name in ["gzip", "GZIP", "x-gzip", "X-GZip", " gzip ", "identity, gzip", "gzip,", ",gzip, Identity"] {
        check(&format!("content-encoding:{name}\r\n"), &gzip, Ok("hello")).await;
    }
    check("content-encoding: identity\r\ncontent-encoding: gzip\r\n", &gzip, Ok("hello")).await;
    for name in ["identity", "Identity", "", "identity, identity"] {
        check(&format!("content-encoding:{name}\r\n"), b"hello", Ok("hello")).await;
    }
    for name in ["br", "deflate", "gzip, br", "gzip, gzip", "zstd", "gzipped"] {
        check(&format!("content-encoding: {name}\r\n"), &gzip, Err(name)).await;
    }
}
