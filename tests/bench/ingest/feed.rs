//! Where the stream comes from: handed over, or over HTTP from a thread on another core.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::xapi::{
    BodyError, Client, ClientOptions, Headers, Response, StreamRequest, Transport, TransportError,
};
use rustix::time::{ClockId, clock_gettime};

/// How pieces are handed over.
#[derive(Clone, Copy, PartialEq)]
pub enum Handing {
    /// All are ready.
    AtOnce,
    /// After each one the next is not ready yet: the reader gets every piece alone.
    Slowly,
    /// By the gateway's own client, each piece an HTTP chunk.
    Http,
}

/// A stream that is read once.
pub struct Feed {
    pub transport: Arc<dyn Transport>,
    pub base_url: String,
    /// The thread that sends; it gives the processor time that it took.
    pub sender: Option<JoinHandle<Duration>>,
}

impl Feed {
    pub fn new(pieces: &Arc<[Bytes]>, handing: Handing, sender_core: usize) -> Self {
        if handing == Handing::Http {
            return over_http(pieces, sender_core);
        }
        let transport = Arc::new(Handed(Mutex::new(Some(body(pieces.clone(), handing)))));
        Self { transport, base_url: "https://api.x.com".into(), sender: None }
    }
}

/// Answers once, with a body that ends.
struct Handed(Mutex<Option<BoxStream<'static, Result<Bytes, BodyError>>>>);

impl Transport for Handed {
    fn connect<'a>(&'a self, _: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>> {
        match self.0.lock().take() {
            Some(body) => std::future::ready(Ok(Response { status: 200, headers: Headers::default(), body })).boxed(),
            None => std::future::pending().boxed(),
        }
    }
}

fn body(pieces: Arc<[Bytes]>, handing: Handing) -> BoxStream<'static, Result<Bytes, BodyError>> {
    let body = futures::stream::iter((0..pieces.len()).map(move |at| Ok(pieces[at].clone())));
    match handing {
        Handing::Slowly => body.then(|piece| tokio::task::yield_now().map(|()| piece)).boxed(),
        Handing::AtOnce | Handing::Http => body.boxed(),
    }
}

fn over_http(pieces: &[Bytes], core: usize) -> Feed {
    let mut answer =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in pieces {
        answer.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        answer.extend_from_slice(piece);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let sender = std::thread::spawn(move || {
        crate::pin(core);
        let (mut stream, _) = listener.accept().expect("a client");
        let read = stream.read(&mut [0; 4_096]).expect("a request, small enough for one packet");
        assert!(read > 0);
        stream.write_all(&answer).expect("all is read");
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    });
    let options = ClientOptions { connect_timeout: Duration::from_secs(10), proxy: None, ca_file: None };
    let client = Client::new(&options, &Clock::system()).expect("a client");
    Feed { transport: Arc::new(client), base_url: format!("http://127.0.0.1:{port}"), sender: Some(sender) }
}
