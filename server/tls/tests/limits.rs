//! Clients that speak no TLS, and clients that do not complete their handshake.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn plain_text_client_is_closed_without_answer() {
    let port = TestFiles::new().port().await;
    for bytes in ["GET /metrics HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0", "\x15"] {
        let (result, received) = port.send(bytes.as_bytes()).await;
        assert!(matches!(result, Err(HandshakeError::PlainText)), "{bytes}: {result:?}");
        assert!(received.is_empty(), "{bytes}: {received:?}");
    }
    assert_eq!(port.metric("tls_handshakes_total{listener=\"grpc\",outcome=\"plain_text\",version=\"none\"}"), 4.0);
    let (result, _) = port.send(b"\x16\x03\x01\x00\x05hello").await;
    assert!(matches!(result, Err(HandshakeError::Failed(_))), "{result:?}");
}

/// 10 s at a rate of 100.
#[tokio::test]
async fn incomplete_handshake_times_out() {
    let port = TestFiles::new().port_with(Clock::with_rate(100.0, None)).await;
    for bytes in
        [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01", &[&b"\x16\x03\x01\x02\x00\x01"[..], &[0; 300]].concat()]
    {
        let (result, _) = port.send(bytes).await;
        assert!(matches!(result, Err(HandshakeError::TimedOut)), "{bytes:?}: {result:?}");
    }
}

/// Clients that stop within their handshake would keep all others out.
#[tokio::test]
async fn stalled_handshakes_make_way_for_new_ones() {
    let mut files = TestFiles::new();
    files.config.handshakes_max = 2;
    files.config.handshake_timeout = Duration::from_secs(3_600);
    let port = files.port_with(Clock::with_rate(20.0, None)).await;
    let address = port.tcp.local_addr().expect("bound");
    let mut stalled = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = TcpStream::connect(address).await.expect("it listens");
        client.write_all(b"\x16\x03\x01\x02\x00\x01").await.expect("connected");
        let (accepted, _) = port.tcp.accept().await.expect("connected");
        let tls = port.tls.clone();
        stalled.push(tokio::spawn(async move { tls.accept(accepted, PEER).await.map(drop) }));
        clients.push(client);
    }
    // Connections without a byte hold no slot.
    let silent = TcpStream::connect(address).await.expect("it listens");
    let (accepted, _) = port.tcp.accept().await.expect("connected");
    let tls = port.tls.clone();
    let waiting = tokio::spawn(async move { tls.accept(accepted, PEER).await.map(drop) });
    port.connect(None).await.expect("an honest client is accepted");
    let replaced = stalled.iter().filter(|task| task.is_finished()).count();
    assert!((1..=4).contains(&replaced), "{replaced}");
    for task in stalled.into_iter().filter(|task| task.is_finished()) {
        let result = task.await.expect("no panic");
        assert!(matches!(result, Err(HandshakeError::Replaced)), "{result:?}");
    }
    assert!(!waiting.is_finished());
    drop((silent, clients));
    let result = waiting.await.expect("no panic");
    assert!(matches!(result, Err(HandshakeError::Closed)), "{result:?}");
}

/// A TLS client of a port without TLS, however its bytes arrive.
#[tokio::test]
async fn tls_client_of_plain_port_is_closed() {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let log = Arc::new(PeerLog::new(Clock::system()));
    for (bytes, is_refused) in [(&b"\x16\x03\x01"[..], true), (b"GET", false), (b"PRI", false)] {
        let mut client = TcpStream::connect(tcp.local_addr().expect("bound")).await.expect("it listens");
        client.write_all(bytes).await.expect("connected");
        let (accepted, _) = tcp.accept().await.expect("connected");
        let mut stream = ClientStream::plain(accepted, "grpc", PEER, log.clone());
        let mut read = [0; 3];
        assert_eq!(stream.read_exact(&mut read).await.is_err(), is_refused, "{bytes:?}");
        client.write_all(b"\x16\x16\x16").await.expect("connected");
        if !is_refused {
            stream.read_exact(&mut read).await.expect("only the first byte of a connection is checked");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn peer_is_logged_once_per_minute() {
    let clock = Clock::of_runtime(UnixMillis(0));
    let log = PeerLog::new(clock.clone());
    let peer = |n: u32| IpAddr::from(Ipv4Addr::from(n));
    assert_eq!([log.is_due(peer(1)), log.is_due(peer(1)), log.is_due(peer(2))], [true, false, true]);
    clock.sleep(Duration::from_secs(59)).await;
    assert!(!log.is_due(peer(1)));
    clock.sleep(Duration::from_secs(2)).await;
    assert_eq!([log.is_due(peer(1)), log.is_due(peer(1))], [true, false]);
    assert_eq!((10..5_000).filter(|n| log.is_due(peer(*n))).count(), 999, "bounded");
    clock.sleep(Duration::from_secs(61)).await;
    assert!(log.is_due(peer(9_000)), "the old ones make way");
}
