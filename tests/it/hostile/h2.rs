//! A client of HTTP/2 whose frames are written by hand: it may do what no library does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::SubscribeRequest;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::in_time;

/// Types of frames (RFC 9113, 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

/// Flags of frames.
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Settings of a connection (RFC 9113, 6.5.2).
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// Methods that cases call.
pub const SUBSCRIBE: &str = "/powerstream.gateway.v1.StreamService/Subscribe";
pub const GET_STREAM_INFO: &str = "/powerstream.gateway.v1.StreamService/GetStreamInfo";
pub const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// What came on one stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// Payloads of DATA frames.
    pub data: Vec<u8>,
    /// HEADERS frames.
    pub headers: usize,
    /// The last frame had END_STREAM.
    pub ended: bool,
    /// The code of a RST_STREAM frame.
    pub reset: Option<u32>,
}

/// One connection.
#[derive(Debug)]
pub struct Raw {
    socket: TcpStream,
    rest: Vec<u8>,
    /// By stream.
    pub streams: HashMap<u32, Stream>,
    /// The code and text of a GOAWAY frame.
    pub goaway: Option<(u32, String)>,
    /// The gateway closed the connection.
    pub closed: bool,
    /// How it was closed.
    pub why: String,
    /// Whether windows are opened for what came.
    pub open_windows: bool,
}

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&[high, middle, low, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// HPACK: a literal without indexing, not Huffman-coded.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).expect("shorter than 127");
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// A gRPC message with its prefix.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    [&[0], &u32::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat()
}

/// The header fields of a call.
pub fn fields(path: &str, content_type: &str) -> Vec<u8> {
    [
        literal(":method", "POST"),
        literal(":scheme", "http"),
        literal(":authority", "gateway"),
        literal(":path", path),
        literal("content-type", content_type),
        literal("te", "trailers"),
    ]
    .concat()
}

/// The frames of a call with one message.
pub fn call(stream: u32, path: &str, request: &[u8]) -> Vec<u8> {
    let message = message(request);
    let pieces: Vec<&[u8]> = message.chunks(16 << 10).collect();
    let mut bytes = frame(HEADERS, END_HEADERS, stream, &fields(path, "application/grpc"));
    for (n, piece) in pieces.iter().enumerate() {
        let flags = if n + 1 == pieces.len() { END_STREAM } else { 0 };
        bytes.extend(frame(DATA, flags, stream, piece));
    }
    bytes
}

/// The frames of a subscription.
pub fn subscribe(stream: u32, request: &SubscribeRequest) -> Vec<u8> {
    call(stream, SUBSCRIBE, &request.encode_to_vec())
}

/// Cancels a stream.
pub fn cancel(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

impl Raw {
    /// Connects, with these settings.
    pub async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut socket = in_time("a connection", TcpStream::connect(address)).await.expect("it listens");
        let pairs = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        let payload: Vec<u8> = pairs.collect();
        // Before anything is answered, for the gateway's settings may be there already.
        let first = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, &payload)].concat();
        socket.write_all(&first).await.expect("there is room for so little");
        let (streams, rest) = (HashMap::new(), Vec::new());
        Self { socket, rest, streams, goaway: None, closed: false, why: String::new(), open_windows: true }
    }

    /// Sends bytes, and takes what comes meanwhile.
    pub async fn send(&mut self, bytes: &[u8]) {
        let mut left = bytes;
        while !left.is_empty() && !self.closed {
            let piece = &left[..left.len().min(32 << 10)];
            let mut read = vec![0; 64 << 10];
            tokio::select! {
                biased;
                taken = self.socket.readable() => {
                    taken.expect("the socket is open");
                    self.read_ready(&mut read).await;
                }
                sent = self.socket.writable() => {
                    sent.expect("the socket is open");
                    match self.socket.try_write(piece) {
                        Ok(count) => left = &left[count..],
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(error) => self.close(&format!("write: {error}")),
                    }
                }
            }
        }
    }

    async fn read_ready(&mut self, buffer: &mut [u8]) {
        match self.socket.try_read(buffer) {
            Ok(0) => self.close("end"),
            Ok(count) => self.take(&buffer[..count]).await,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => self.close(&format!("read: {error}")),
        }
    }

    fn close(&mut self, why: &str) {
        self.closed = true;
        self.why = why.to_owned();
    }

    /// Reads until this holds, or the connection ends; true if it holds.
    pub async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let reading = async {
            let mut buffer = vec![0; 64 << 10];
            while !holds(self) && !self.closed {
                match self.socket.read(&mut buffer).await {
                    Ok(0) => self.close("end"),
                    Err(error) => self.close(&format!("read: {error}")),
                    Ok(count) => self.take(&buffer[..count]).await,
                }
            }
            holds(self)
        };
        in_time(what, reading).await
    }

    /// Reads for a while.
    pub async fn read_for(&mut self, time: Duration) {
        let mut buffer = vec![0; 64 << 10];
        let clock = Clock::system();
        let end = clock.moment().plus(time);
        while !self.closed && clock.moment() < end {
            let left = end.since(clock.moment());
            match clock.timeout(left, self.socket.read(&mut buffer)).await {
                Ok(Ok(0)) => self.close("end"),
                Ok(Err(error)) => self.close(&format!("read: {error}")),
                Ok(Ok(count)) => self.take(&buffer[..count]).await,
                Err(_) => return,
            }
        }
    }

    async fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut answers = Vec::new();
        while self.rest.len() >= 9 {
            let length = u32::from_be_bytes([0, self.rest[0], self.rest[1], self.rest[2]]) as usize;
            if self.rest.len() < 9 + length {
                break;
            }
            let whole: Vec<u8> = self.rest.drain(..9 + length).collect();
            let stream = u32::from_be_bytes([whole[5], whole[6], whole[7], whole[8]]);
            self.take_frame(whole[3], whole[4], stream, &whole[9..], &mut answers);
        }
        if let Err(error) = self.socket.write_all(&answers).await {
            self.close(&format!("write: {error}"));
        }
    }

    fn take_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8], answers: &mut Vec<u8>) {
        let number = |at: usize| u32::from_be_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]]);
        match kind {
            DATA | HEADERS => {
                let own = self.streams.entry(stream).or_default();
                own.ended |= flags & END_STREAM != 0;
                if kind == HEADERS {
                    own.headers += 1;
                    return;
                }
                own.data.extend_from_slice(payload);
                if self.open_windows && !payload.is_empty() {
                    let more = u32::try_from(payload.len()).expect("short").to_be_bytes();
                    answers.extend(frame(WINDOW_UPDATE, 0, 0, &more));
                    answers.extend(frame(WINDOW_UPDATE, 0, stream, &more));
                }
            }
            RST_STREAM => self.streams.entry(stream).or_default().reset = Some(number(0)),
            SETTINGS if flags & ACK == 0 => answers.extend(frame(SETTINGS, ACK, 0, &[])),
            PING if flags & ACK == 0 => answers.extend(frame(PING, ACK, 0, payload)),
            GOAWAY => self.goaway = Some((number(4), String::from_utf8_lossy(&payload[8..]).into_owned())),
            _ => {}
        }
    }

    /// Bytes of messages that came on a stream.
    pub fn received(&self, stream: u32) -> usize {
        self.streams.get(&stream).map_or(0, |own| own.data.len())
    }
}
