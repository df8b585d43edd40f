use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::clock::Clock;
use crate::model::UnixMillis;
use crate::task::{ExitPolicy, TaskGroup};

const DEADLINE: Duration = Duration::from_secs(60);

struct Fixed(Result<(), Vec<String>>);

impl ReadinessProbe for Fixed {
    fn readiness(&self) -> Result<(), Vec<String>> {
        self.0.clone()
    }
}

struct Port {
    address: SocketAddr,
    runtime: Runtime,
    shutdown: Shutdown,
}

impl Port {
    async fn open(config: Config, ready: Result<(), Vec<String>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let runtime = Runtime { tasks: TaskGroup::new(), clock: Clock::system(), tls: None };
        let shutdown = runtime.tasks.shutdown().child_token();
        let site = AdminState {
            probe: Arc::new(Fixed(ready)),
            metrics: Registry::new(UnixMillis(0)),
            rpc: None,
            status: None,
        };
        let serving = serve(listener, config, site, runtime.clone(), shutdown.clone());
        runtime.tasks.spawn("admin port", ExitPolicy::StopProcess, serving);
        Self { address, runtime, shutdown }
    }

    async fn send(&self, bytes: &[u8]) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.expect("connected");
            // The port may close before all of a long request was sent.
            let _ = stream.write_all(bytes).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        };
        self.runtime.clock.timeout(DEADLINE, exchange).await.expect("an answer or an end in time")
    }

    async fn get(&self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await
    }

    async fn stop(self) -> Duration {
        let before = self.runtime.clock.moment();
        self.runtime.tasks.shutdown().cancel();
        assert!(self.shutdown.is_cancelled());
        assert!(self.runtime.tasks.join(&self.runtime.clock, DEADLINE).await, "all tasks ended");
        assert_eq!(self.runtime.tasks.failure(), None);
        self.runtime.clock.moment().since(before)
    }
}

#[tokio::test]
async fn each_path_answers_what_it_is_for() {
    let port = Port::open(Config::default(), Err(vec!["main: the journal opens".into(), "other: starts".into()])).await;
    for (path, status, text) in [
        ("/livez", "200", "ok\n"),
        ("/readyz", "503", "not ready\nmain: the journal opens\nother: starts\n"),
        ("/metrics", "200", "content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        ("/", "404", "/readyz "),
        ("/livez/x", "404", "/metrics "),
    ] {
        let answer = port.get(path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        assert!(answer.contains(text), "{path}: {answer}");
    }
    let asked = "GET /metrics HTTP/1.1\r\nhost: x\r\naccept: application/openmetrics-text\r\n\r\n";
    let answer = port.send(asked.as_bytes()).await;
    assert!(
        answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("# EOF\n") && !port.get("/metrics").await.contains("# EOF"), "{answer}");
    port.stop().await;
    let port = Port::open(Config::default(), Ok(())).await;
    assert!(port.get("/readyz").await.ends_with("\r\n\r\nok\n"));
    port.stop().await;
}

#[tokio::test]
async fn malformed_requests_affect_no_other() {
    let port = Port::open(Config::default(), Ok(())).await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let random: Vec<u8> = (0..4_096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for malformed in [
        b"\r\n\r\n\r\n".as_slice(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\nabc",
        b"GET /livez HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",
        long.as_bytes(),
        &random,
    ] {
        let answer = port.send(&[malformed, b"\r\n\r\n"].concat()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert!(port.get("/livez").await.ends_with("ok\n"));
    port.stop().await;
}

#[tokio::test]
async fn slow_and_silent_clients_are_let_go() {
    let short = Duration::from_secs(1);
    let config = Config { connections_max: 2, header_timeout: short, request_timeout: short * 5, ..Config::default() };
    let port = Port::open(config, Ok(())).await;
    let mut slow = Vec::new();
    for begin in ["", "GET /livez HT", "GET /metrics HTTP/1.1\r\nx: y\r\n", ""] {
        let mut stream = TcpStream::connect(port.address).await.expect("connected");
        stream.write_all(begin.as_bytes()).await.expect("sent");
        slow.push(stream);
    }
    assert!(port.get("/livez").await.ends_with("ok\n"), "it is its turn once the slow ones are let go");
    drop(slow);
    port.stop().await;
}

/// 64 silent connections kept the probes waiting until Kubernetes killed the process.
#[tokio::test]
async fn probe_is_answered_while_places_are_held() {
    let long = Duration::from_secs(600);
    let config = Config {
        connections_max: 4,
        scrapes_max: 2,
        header_timeout: long,
        request_timeout: long,
        drain_timeout: Duration::ZERO,
        ..Config::default()
    };
    let port = Port::open(config, Ok(())).await;
    let mut held = Vec::new();
    for begin in
        ["", "GET /livez HT", "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n", "POST /metrics HTTP/1.1\r\nhost: x\r\n"]
    {
        for _ in 0..4 {
            let mut stream = TcpStream::connect(port.address).await.expect("connected");
            stream.write_all(begin.as_bytes()).await.expect("sent");
            held.push(stream);
        }
        // `send` has a deadline far below what the held ones may take.
        for path in ["/livez", "/readyz", "/metrics"] {
            assert!(port.get(path).await.starts_with("HTTP/1.1 200"), "{path} after {begin:?}");
        }
    }
    drop(held);
    port.stop().await;
}

#[tokio::test]
async fn it_stops_in_time_with_silent_clients() {
    let long = Duration::from_secs(600);
    let config = Config {
        drain_timeout: Duration::from_millis(300),
        header_timeout: long,
        request_timeout: long,
        ..Config::default()
    };
    let port = Port::open(config, Ok(())).await;
    let mut silent = TcpStream::connect(port.address).await.expect("connected");
    silent.write_all(b"GET /li").await.expect("sent");
    assert!(port.get("/livez").await.ends_with("ok\n"));
    assert!(port.stop().await < long / 2, "well before the header timeout");
}

#[test]
fn connection_is_private_on_loopback_or_encrypted() {
    let check = |local: &str, peer: &str, is_encrypted: bool, expected: bool| {
        let address = |ip: &str| SocketAddr::new(ip.parse().expect("an address"), 1);
        let client = RpcClient { local: address(local), peer: address(peer), identity: None, is_encrypted };
        assert_eq!(client.is_private(), expected, "{client:?}");
    };
    check("127.0.0.1", "127.0.0.1", false, true);
    check("::1", "::1", false, true);
    check("::ffff:127.0.0.1", "::ffff:127.0.0.1", false, true);
    check("10.0.0.1", "10.0.0.2", false, false);
    check("10.0.0.1", "127.0.0.1", false, false);
    check("127.0.0.1", "10.0.0.2", false, false);
    check("10.0.0.1", "10.0.0.2", true, true);
}
