//! An upstream that writes what it is given: each request waits for an answer, and one answer is for one request.

use std::net::SocketAddr;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// What is written at most where there is no end.
const ENDLESS_BYTES_MAX: usize = 256 << 20;
/// Answers that wait, of cases that failed before.
const QUEUED_MAX: usize = 64;
/// Between two bytes that come one by one.
const DRIP: Duration = Duration::from_millis(40);

/// A part of an answer.
pub enum Piece {
    /// At once.
    Bytes(Vec<u8>),
    /// Byte by byte.
    Drip(Vec<u8>),
    /// Again and again, until the gateway leaves.
    Endless(Vec<u8>),
}

/// How an answer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The connection is closed.
    Close,
    /// With a TCP reset.
    Reset,
    /// It stays open until the gateway leaves, or the case is over.
    Hold,
}

/// All that a request gets.
pub struct Answer {
    pieces: Vec<Piece>,
    end: End,
}

impl Answer {
    /// These parts, and this end.
    pub fn new(pieces: impl Into<Vec<Piece>>, end: End) -> Self {
        Self { pieces: pieces.into(), end }
    }
}

/// At once, and then the connection stays open.
impl<B: Into<Vec<u8>>> From<B> for Answer {
    fn from(bytes: B) -> Self {
        Self { pieces: vec![Piece::Bytes(bytes.into())], end: End::Hold }
    }
}

/// How far it is.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Answers that were taken.
    taken: usize,
    /// A request waits for the next one.
    waiting: bool,
}

/// The upstream.
pub struct Raw {
    address: SocketAddr,
    answers: mpsc::Sender<Answer>,
    given: usize,
    released: watch::Sender<usize>,
    progress: watch::Receiver<Progress>,
    task: tokio::task::JoinHandle<()>,
}

impl Raw {
    /// Listens on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (answers, queue) = mpsc::channel(QUEUED_MAX);
        let (progress, watched) = watch::channel(Progress::default());
        let released = watch::Sender::new(0);
        let serving = Serving { queue, progress, released: released.subscribe() };
        let task = tokio::spawn(serving.run(listener));
        Self { address, answers, given: 0, released, progress: watched, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives the next answer.
    pub fn answer(&mut self, answer: Answer) {
        self.given += 1;
        self.answers.try_send(answer).expect("it serves, and few wait");
    }

    /// Ends the answers so far, wherever they are.
    pub fn release(&self) {
        self.released.send_replace(self.given);
    }

    /// Waits until all answers were given and a further request waits.
    pub async fn asked(&mut self) {
        let given = self.given;
        let waits = self.progress.wait_for(|progress| progress.taken == given && progress.waiting);
        waits.await.expect("it serves");
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Serving {
    queue: mpsc::Receiver<Answer>,
    progress: watch::Sender<Progress>,
    released: watch::Receiver<usize>,
}

impl Serving {
    async fn run(mut self, listener: TcpListener) {
        while let Ok((mut socket, _)) = listener.accept().await {
            if !read_head(&mut socket).await {
                continue;
            }
            self.progress.send_modify(|progress| progress.waiting = true);
            let answer = tokio::select! {
                biased;
                // The gateway left before.
                _ = socket.read_u8() => None,
                answer = self.queue.recv() => answer,
            };
            self.progress.send_modify(|progress| {
                progress.waiting = false;
                progress.taken += usize::from(answer.is_some());
            });
            let Some(answer) = answer else { continue };
            let taken = self.progress.borrow().taken;
            let mut released = self.released.clone();
            let is_released = released.wait_for(|released| *released >= taken);
            tokio::select! {
                () = write(&mut socket, &answer.pieces) => {}
                _ = is_released => {}
            }
            self.end(socket, answer.end, taken).await;
        }
    }

    async fn end(&mut self, mut socket: TcpStream, end: End, taken: usize) {
        if end == End::Hold {
            tokio::select! {
                _ = socket.read_u8() => {}
                _ = self.released.wait_for(|released| *released >= taken) => {}
            }
        }
        if end == End::Reset {
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("the socket is ours");
        }
    }
}

async fn read_head(socket: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

/// Writes until all is written, or the gateway does not take any more.
async fn write(socket: &mut TcpStream, pieces: &[Piece]) {
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => {
                if socket.write_all(bytes).await.is_err() {
                    return;
                }
            }
            Piece::Drip(bytes) => {
                for byte in bytes {
                    let left = Clock::system().timeout(DRIP, socket.read_u8()).await.is_ok();
                    if left || socket.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                }
            }
            Piece::Endless(bytes) => {
                for _ in 0..ENDLESS_BYTES_MAX / bytes.len() {
                    if socket.write_all(bytes).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
