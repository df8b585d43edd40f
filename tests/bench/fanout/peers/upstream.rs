//! The player as X: an HTTP/1.1 stream, one post in each chunk.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::time::Duration;

use super::send_all;
use crate::load::{Feed, Frames};
use crate::process::{Process, pause};
use crate::wire::Fault;

/// How long a server may take to connect upstream.
const CONNECT: Duration = Duration::from_secs(20);

/// Takes the request of a client of the stream, and begins the answer.
pub fn accept(listener: &TcpListener, process: &mut Process) -> Result<Feed, Fault> {
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    let deadline = std::time::Instant::now() + CONNECT;
    let socket = loop {
        match listener.accept() {
            Ok((socket, _)) => break socket,
            Err(_) if std::time::Instant::now() < deadline => pause(Duration::from_millis(5)),
            Err(error) => return Err(format!("no gateway connects upstream: {error}")),
        }
        if let Ok(Some(status)) = process.child.try_wait() {
            return Err(format!("the server ended: {status}"));
        }
    };
    let io = |error: std::io::Error| error.to_string();
    socket.set_nonblocking(false).and(socket.set_nodelay(true)).map_err(io)?;
    let mut lines = BufReader::new(socket.try_clone().map_err(io)?);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if lines.read_line(&mut line).map_err(io)? == 0 {
            return Err("the request was broken off".into());
        }
    }
    send_all(&socket, b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")?;
    Ok(Feed { socket: socket.into(), frames: Box::new(Chunks) })
}

/// HTTP/1.1 chunks of one post each.
struct Chunks;

impl Frames for Chunks {
    fn frame(&mut self, post: &[u8], out: &mut Vec<u8>) {
        // The line end that delimits posts is part of the chunk.
        out.extend_from_slice(format!("{:x}\r\n", post.len() + 2).as_bytes());
        out.extend_from_slice(post);
        out.extend_from_slice(b"\r\n\r\n");
    }
}
