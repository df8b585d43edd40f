//! The simulator as a client sees it, which knows no more than sockets and HTTP chunks.
//!
//! `wire`: what a live stream looks like, whole and cut. `faults`: what else can be wrong with it. `history`: backfill, slow
//! readers, the past. `recovery`: jobs and their ends. `time`: dates and skew. `datacenters`: datacenters. `scripts`: timelines.
//! `admission`: accepted and refused connections, rules, and the endpoints for other processes. `rules`: requests for rules that go
//! wrong.
//!
//! Owns the bench (a simulator on a free port, with tasks and a clock of its own) and the client. Time is the bench's
//! clock, which runs faster than the system's where a test is about minutes; waits end with their condition, and fail
//! after the deadline.
//!
//! Invariant: nothing here shares code with the gateway.

mod admission;
mod datacenters;
mod faults;
mod history;
mod recovery;
mod rules;
mod scripts;
mod time;
mod wire;

use std::io::Read as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::clock::Clock;
use crate::task::TaskGroup;

/// No wait of a test is longer, however slow the machine.
const DEADLINE: Duration = Duration::from_secs(60);

struct Bench {
    sim: SimulatorHandle,
    tasks: TaskGroup,
    clock: Clock,
}

impl Bench {
    fn start(config: Config) -> Self {
        Self::at_rate(config, 1.0)
    }

    fn at_rate(config: Config, rate: f64) -> Self {
        let (tasks, clock) = (TaskGroup::new(), Clock::with_rate(rate, None));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let sim = Simulator::start(config, listener, clock.clone(), &tasks).expect("starts");
        Self { sim, tasks, clock }
    }

    async fn get(&self, target: &str) -> Client {
        self.ask("GET", target, "", "").await
    }

    async fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> Client {
        let mut stream = TcpStream::connect(self.sim.addr()).await.expect("connects");
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        stream.write_all((head + body).as_bytes()).await.expect("written");
        let mut client = Client { stream, raw: Vec::new(), head: String::new(), end: None };
        let found = client.read_until(|client| find(&client.raw, b"\r\n\r\n").is_some()).await;
        let end = find(&client.raw, b"\r\n\r\n").filter(|_| found).expect("a head") + 4;
        client.head = String::from_utf8(client.raw.drain(..end).collect()).expect("a head is text");
        client
    }

    async fn eventually(&self, what: &str, condition: impl Fn(&SimulatorHandle) -> bool) {
        let started = Instant::now();
        while !condition(&self.sim) {
            assert!(started.elapsed() < DEADLINE, "{what}: {:?}", self.sim.counters());
            tokio::task::yield_now().await;
            self.clock.sleep(Duration::from_millis(2).mul_f64(self.clock.rate())).await;
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tasks.shutdown().cancel();
    }
}

/// A client that knows no more than sockets and chunks.
struct Client {
    stream: TcpStream,
    raw: Vec<u8>,
    head: String,
    end: Option<std::io::ErrorKind>,
}

impl Client {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    /// Reads until this holds, or the socket ends; true if it holds.
    async fn read_until(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        let started = Instant::now();
        while !done(self) {
            let mut buffer = [0; 16 << 10];
            let left = DEADLINE.saturating_sub(started.elapsed());
            match tokio::time::timeout(left, self.stream.read(&mut buffer)).await.expect("in time") {
                Ok(0) => return self.ended(std::io::ErrorKind::UnexpectedEof, done),
                Ok(n) => self.raw.extend_from_slice(&buffer[..n]),
                Err(error) => return self.ended(error.kind(), done),
            }
        }
        true
    }

    fn ended(&mut self, kind: std::io::ErrorKind, done: impl Fn(&Self) -> bool) -> bool {
        self.end = Some(kind);
        done(self)
    }

    /// The chunks that are whole, and whether the last one, of length zero, is there.
    fn chunks(&self) -> (Vec<&[u8]>, bool) {
        let (mut chunks, mut rest) = (Vec::new(), &self.raw[..]);
        while let Some(line) = find(rest, b"\r\n") {
            let size = std::str::from_utf8(&rest[..line]).expect("a size is text");
            let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
            let Some(chunk) = rest.get(line + 2..line + 2 + size) else { break };
            if size == 0 {
                return (chunks, true);
            }
            chunks.push(chunk);
            rest = rest.get(line + 4 + size..).unwrap_or_default();
        }
        (chunks, false)
    }

    fn body(&self) -> Vec<u8> {
        let body = self.chunks().0.concat();
        if !self.head.contains("content-encoding: gzip") {
            return body;
        }
        let mut text = Vec::new();
        // The end of the stream may be missing: what can be read is what counts.
        let _ = flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut text);
        text
    }

    /// Whole lines that are not empty.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.body()).into_owned();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.split('\n').map(|line| line.trim_end_matches('\r').to_owned()).filter(|line| !line.is_empty()).collect()
    }

    async fn read_lines(&mut self, count: usize) -> Vec<String> {
        assert!(self.read_until(|client| client.lines().len() >= count).await, "{:?} {}", self.end, self.lines().len());
        self.lines()
    }

    async fn read_to_end(&mut self) {
        self.read_until(|_| false).await;
    }

    async fn json(mut self) -> Value {
        let length = self.head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.expect("a length");
        assert!(self.read_until(|client| client.raw.len() >= length).await);
        serde_json::from_slice(&self.raw).expect("JSON")
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn quiet() -> Config {
    Config { rate: 0.0, ..Config::default() }
}

fn busy() -> Config {
    Config { rate: 2_000.0, ..Config::default() }
}

fn cat(n: usize) -> String {
    format!(r#"{{"text":"a cat, number {n} \/ 猫","lang":"en","user":{{"screen_name":"ada"}}}}"#)
}

fn payloads(truth: &[SentPost]) -> Vec<String> {
    truth.iter().map(|truth| String::from_utf8(truth.json.to_vec()).expect("UTF-8")).collect()
}
