//! A client of HTTP/2 whose frames are written byte by byte: it may do what no library does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::grpc::REASON_TRAILER;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Status;
use tonic_types::StatusExt;

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADER_TABLE_SIZE, HEADERS, PING, PREFACE, RST_STREAM,
    SETTINGS, frame, settings, window,
};
use super::hpack;
use crate::harness::in_time;

/// What a PING carries that asks whether all before it was read.
pub const MARK: [u8; 8] = *b"attacked";

/// What came on one stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// Payloads of DATA frames.
    pub data: Vec<u8>,
    /// Blocks of header fields: the first, and the trailers.
    pub headers: Vec<Vec<(String, String)>>,
    block: Vec<u8>,
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
    /// The gateway's settings came, and were acknowledged.
    pub settled: bool,
    /// A PING with the mark was answered.
    pub marked: bool,
    /// The gateway closed the connection.
    pub closed: bool,
    /// How it was closed.
    pub why: String,
    /// Whether windows are opened for what came.
    pub open_windows: bool,
    /// Frames to answer with, kept while something is sent: in the middle of a frame they would be part of it.
    answers: Option<Vec<u8>>,
}

impl Raw {
    /// Connects, with these settings.
    pub async fn connect(address: SocketAddr, pairs: &[(u16, u32)]) -> Self {
        let pairs = [pairs, &[(HEADER_TABLE_SIZE, 0)]].concat();
        let mut raw = Self::bare(address).await;
        // Before anything is answered, for the gateway's settings may be there already.
        let first = [PREFACE, &settings(&pairs)].concat();
        raw.socket.write_all(&first).await.expect("there is room for so little");
        raw
    }

    /// Connects, and sends nothing.
    pub async fn bare(address: SocketAddr) -> Self {
        let socket = in_time("a connection", TcpStream::connect(address)).await.expect("it listens");
        let (streams, rest) = (HashMap::new(), Vec::new());
        let (goaway, why) = (None, String::new());
        Self {
            socket,
            rest,
            streams,
            goaway,
            settled: false,
            marked: false,
            closed: false,
            why,
            open_windows: true,
            answers: None,
        }
    }

    /// Sends bytes, and takes what comes meanwhile.
    pub async fn send(&mut self, bytes: &[u8]) {
        let mut left = bytes;
        self.answers = Some(Vec::new());
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
                        // What it sent before it closed can still be read.
                        Err(_) => drop(self.until("the end", |_| false).await),
                    }
                }
            }
        }
        let answers = self.answers.take().unwrap_or_default();
        self.answer(&answers).await;
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
        match &mut self.answers {
            Some(kept) => kept.extend(answers),
            None => self.answer(&answers).await,
        }
    }

    async fn answer(&mut self, frames: &[u8]) {
        if let Err(error) = self.socket.write_all(frames).await {
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
                    own.take_block(payload, flags & END_HEADERS != 0);
                    return;
                }
                own.data.extend_from_slice(payload);
                if self.open_windows && !payload.is_empty() {
                    let more = u32::try_from(payload.len()).expect("short");
                    answers.extend([window(0, more), window(stream, more)].concat());
                }
            }
            CONTINUATION => {
                self.streams.entry(stream).or_default().take_block(payload, flags & END_HEADERS != 0);
            }
            RST_STREAM => self.streams.entry(stream).or_default().reset = Some(number(0)),
            SETTINGS if flags & ACK == 0 => {
                self.settled = true;
                answers.extend(frame(SETTINGS, ACK, 0, &[]));
            }
            PING if flags & ACK != 0 => self.marked |= payload == MARK,
            PING => answers.extend(frame(PING, ACK, 0, payload)),
            GOAWAY => self.goaway = Some((number(4), String::from_utf8_lossy(&payload[8..]).into_owned())),
            _ => {}
        }
    }

    /// What the gateway made of it, in one line: how it ended the connection or this stream, or that both are open though
    /// all that was sent is read.
    pub fn outcome(&self, stream: u32) -> String {
        let ended = self.streams.get(&stream).and_then(Stream::outcome);
        match (&self.goaway, self.closed, self.marked) {
            (Some((code, _)), ..) => format!("GOAWAY {}", code_name(*code)),
            (None, true, _) => "closed".into(),
            (None, false, true) => ended.unwrap_or_else(|| "open".into()),
            (None, false, false) => "nothing".into(),
        }
    }

    /// Whether a stream has ended, in whatever way.
    pub fn is_over(&self, stream: u32) -> bool {
        self.streams.get(&stream).is_some_and(|own| own.ended || own.reset.is_some())
    }

    /// How a stream ended, in one line; empty if it did not.
    pub fn stream_outcome(&self, stream: u32) -> String {
        self.streams.get(&stream).and_then(Stream::outcome).unwrap_or_default()
    }

    /// Reads until the outcome is this one, or the connection ends, or for this long; with what it is then.
    pub async fn outcome_within(&mut self, time: Duration, stream: u32, expected: &str) -> String {
        let reached = self.until("the outcome", |raw| raw.outcome(stream) == expected);
        let _ = Clock::system().timeout(time, reached).await;
        self.outcome(stream)
    }

    /// Bytes of messages that came on a stream.
    pub fn received(&self, stream: u32) -> usize {
        self.streams.get(&stream).map_or(0, |own| own.data.len())
    }
}

impl Stream {
    fn take_block(&mut self, piece: &[u8], whole: bool) {
        self.block.extend_from_slice(piece);
        if whole {
            let block = std::mem::take(&mut self.block);
            self.headers.push(hpack::decode(&block).expect("a header block without a dynamic table"));
        }
    }

    /// The status of a call, as the gateway gave it in one of its header blocks.
    pub fn status(&self) -> Option<Status> {
        let last = self.headers.last()?;
        let field = |(name, value): &(String, String)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        };
        let map: HeaderMap = last.iter().filter(|(name, _)| !name.starts_with(':')).filter_map(field).collect();
        Status::from_header_map(&map)
    }

    /// How it ended, in one line; `None` if it did not.
    fn outcome(&self) -> Option<String> {
        let ended = self.ended && !self.headers.is_empty();
        if !ended {
            return self.reset.map(|code| format!("RST {}", code_name(code)));
        }
        let http = self.headers[0].iter().find(|(name, _)| name == ":status").map(|(_, value)| value.as_str());
        if http != Some("200") {
            return Some(format!("HTTP {}", http.unwrap_or("without a status")));
        }
        let Some(status) = self.status() else { return Some("no status".into()) };
        let code = status.code();
        if code == tonic::Code::Ok {
            return Some("OK".into());
        }
        // The reason stands in the details and in a trailer: both, or it does not count.
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let trailer = status.metadata().get(REASON_TRAILER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let agree = if reason == trailer { String::new() } else { format!(" / {trailer}") };
        Some(format!("{code:?} {reason}{agree}").trim_end().to_owned())
    }
}

/// The name of an error code (RFC 9113, 7).
fn code_name(code: u32) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    NAMES.get(code as usize).map_or_else(|| code.to_string(), ToString::to_string)
}
