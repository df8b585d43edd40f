//! Dropping a response, its body or a pending connect closes the socket before the drop returns (I11).
//!
//! The tests block the thread that could run other tasks, and wait for the end of the peer's socket meanwhile: a client
//! that closes in a task of its own cannot pass.

use std::io::{ErrorKind as IoErrorKind, Read};
use std::sync::mpsc;

use super::tls::Authority;
use super::*;

/// Far above the duration of a close on loopback.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Reads what the peer has sent until its end, and blocks the thread meanwhile. Returns false if the socket is open.
fn is_closed(socket: TcpStream) -> bool {
    let mut socket = socket.into_std().expect("a socket");
    socket.set_nonblocking(false).expect("a blocking socket");
    socket.set_read_timeout(Some(CLOSE_TIMEOUT)).expect("a timeout");
    loop {
        match socket.read(&mut [0; 4_096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), IoErrorKind::WouldBlock | IoErrorKind::TimedOut),
        }
    }
}

/// Connects to a server that sends these bytes and keeps its socket open.
async fn open(bytes: &[u8]) -> (Response, TcpStream) {
    let (listener, address) = listen().await;
    let (client, request) = (client(), request(&format!("http://{address}")));
    let (response, socket) = tokio::join!(client.connect(&request), async {
        let (mut socket, _) = accept(&listener).await;
        send(&mut socket, bytes).await;
        socket
    });
    (response.expect("an answer"), socket)
}

#[tokio::test]
async fn dropped_response_closes_socket_before_drop_returns() {
    let plain = [HEAD.as_bytes(), &chunk(b"abc")].concat();
    let gzip = HEAD.replace("\r\n\r\n", "\r\ncontent-encoding: gzip\r\n\r\n");
    let endless = [HEAD.as_bytes(), &chunk(&[b'x'; 60_000])].concat();
    for (name, bytes) in [("plain", plain.as_slice()), ("gzip", gzip.as_bytes()), ("unread", &endless)] {
        let (response, socket) = open(bytes).await;
        drop(response);
        assert!(is_closed(socket), "{name}");
    }
    let (mut response, socket) = open(&plain).await;
    assert_eq!(next(&mut response).await, Some(Ok(Bytes::from_static(b"abc"))));
    assert!(response.body.next().now_or_never().is_none(), "the body is open");
    drop(response);
    assert!(is_closed(socket), "after a read");
}

#[tokio::test]
async fn dropped_response_closes_socket_on_busy_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let busy = async {
        let (response, socket) = open(HEAD.as_bytes()).await;
        let (started, start) = mpsc::sync_channel(1);
        let (end, ended) = mpsc::sync_channel::<()>(1);
        let hog = tokio::spawn(async move {
            started.send(()).expect("the test waits");
            ended.recv().expect_err("the test only drops its end");
        });
        start.recv().expect("the only worker is blocked");
        drop(response);
        let closed = is_closed(socket);
        drop(end);
        hog.await.expect("the worker is free again");
        closed
    };
    let closed = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(busy)).join().expect("no panic"));
    runtime.shutdown_background();
    assert!(closed);
}

/// The head of the response has not arrived.
#[tokio::test]
async fn dropped_pending_connect_closes_socket() {
    let (listener, address) = listen().await;
    let (client, request) = (client(), request(&format!("http://{address}")));
    for head in ["", "HTTP/1.1 200 OK\r\ndate:", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let mut connecting = client.connect(&request);
        let (mut socket, _) = tokio::select! {
            _ = &mut connecting => panic!("no answer was sent"),
            accepted = accept(&listener) => accepted,
        };
        send(&mut socket, head).await;
        assert!(futures::poll!(&mut connecting).is_pending());
        drop(connecting);
        assert!(is_closed(socket), "{head:?}");
    }
}

/// The server has accepted, but neither the proxy nor the TLS session answers.
#[tokio::test]
async fn dropped_handshake_closes_socket() {
    let (listener, address) = listen().await;
    let own = format!("https://{address}");
    let proxy = format!("http://{address}");
    for (url, proxy) in [(own.as_str(), None), ("https://api.example.com", Some(&proxy))] {
        let proxy = proxy.map(|url| url.parse().expect("a URL"));
        let options = ClientOptions { connect_timeout: DEADLINE, proxy, ca_file: None };
        let client = Client::new(&options, &Clock::system()).expect("a client");
        let request = request(url);
        let mut connecting = client.connect(&request);
        let socket = tokio::select! {
            _ = &mut connecting => panic!("no answer was sent"),
            accepted = async {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                socket.read_u8().await.expect("a first byte");
                socket
            } => accepted,
        };
        drop(connecting);
        assert!(is_closed(socket), "{url}");
    }
}

#[tokio::test]
async fn dropped_tls_response_closes_socket() {
    let authority = Authority::new();
    for tunneled in [false, true] {
        let (listener, address) = listen().await;
        let proxy = tunneled.then(|| format!("http://{address}").parse().expect("a URL"));
        let client = authority.client(proxy);
        let request = request(&format!("https://{address}"));
        let (response, mut stream) = tokio::join!(client.connect(&request), async {
            let socket = if tunneled {
                let (mut socket, head) = accept(&listener).await;
                assert!(head.starts_with(&format!("CONNECT {address} ")), "{head}");
                send(&mut socket, "HTTP/1.1 200 OK\r\n\r\n").await;
                socket
            } else {
                listener.accept().await.expect("a connection").0
            };
            authority.accept(socket, HEAD.as_bytes()).await
        });
        let mut response = response.expect("an answer");
        stream.write_all(&chunk(b"abc")).await.expect("sent");
        assert_eq!(next(&mut response).await, Some(Ok(Bytes::from_static(b"abc"))));
        drop(response);
        assert!(is_closed(stream.into_inner().0), "tunneled: {tunneled}");
    }
}

/// A response may be kept after the end of its body.
#[tokio::test]
async fn ended_body_closes_socket() {
    let empty = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n".as_slice();
    let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc".as_slice();
    let garbled = [HEAD, "zz\r\n"].concat();
    for bytes in [empty, whole, garbled.as_bytes()] {
        let (mut response, socket) = open(bytes).await;
        while let Some(Ok(_)) = next(&mut response).await {}
        assert!(is_closed(socket), "{}", String::from_utf8_lossy(bytes));
    }
    let brotli = HEAD.replace("\r\n\r\n", "\r\ncontent-encoding: br\r\n\r\n");
    let (_undecodable, socket) = open(brotli.as_bytes()).await;
    assert!(is_closed(socket), "nothing of it is read");
}
