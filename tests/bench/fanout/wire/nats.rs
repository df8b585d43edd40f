//! The protocol of NATS: lines, and payloads behind the lines that announce them.

use super::{Fault, Wire};

/// The only messages before the first subscription.
pub const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\",\"version\":\"1\",\
                           \"protocol\":1,\"headers\":false}\r\nPING\r\n";

/// Something that came.
pub enum NatsMessage<'a> {
    /// A message: the id of its subscription, and its payload if it is kept.
    Message { subscription: &'a str, bytes: u64, payload: &'a [u8] },
    /// The answer to our ping.
    Pong,
    /// A ping that wants an answer.
    Ping,
}

/// Cuts the stream.
#[derive(Default)]
pub struct Parser {
    line: Vec<u8>,
    subscription: String,
    /// Bytes of the payload and its line end.
    size: usize,
    left: usize,
    kept: Vec<u8>,
}

/// Longer payloads are events; shorter ones are answers to be looked at.
const KEPT_BYTES_MAX: usize = 1_024;

impl Parser {
    /// Reports the messages that are complete within these bytes.
    pub fn take(
        &mut self,
        mut bytes: &[u8],
        mut message: impl FnMut(NatsMessage<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let part;
                (part, bytes) = bytes.split_at(bytes.len().min(self.left));
                self.left -= part.len();
                if self.size <= KEPT_BYTES_MAX {
                    self.kept.extend_from_slice(part);
                }
                if self.left == 0 {
                    let bytes = self.size as u64 - 2;
                    message(NatsMessage::Message { subscription: &self.subscription, bytes, payload: &self.kept })?;
                    self.kept.clear();
                }
                continue;
            }
            let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end..];
            if self.line.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
                self.line(line.trim_end(), &mut message)?;
            }
        }
        Ok(())
    }

    fn line(
        &mut self,
        line: &str,
        message: &mut impl FnMut(NatsMessage<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut words = line.split(' ');
        match words.next() {
            Some("MSG") => {
                let size = words.next_back().and_then(|size| size.parse::<usize>().ok());
                self.size = size.ok_or_else(|| format!("no size in {line}"))? + 2;
                self.left = self.size;
                self.subscription.clear();
                self.subscription.push_str(words.nth(1).unwrap_or_default());
                Ok(())
            }
            Some("PING") => message(NatsMessage::Ping),
            Some("PONG") => message(NatsMessage::Pong),
            Some("INFO" | "+OK") => Ok(()),
            _ => Err(format!("error of NATS: {line}")),
        }
    }
}

/// A subscriber: its messages come for one subscription, an answer of JetStream for the other.
pub struct Nats {
    parser: Parser,
    /// It stands when the answer to the request for a consumer is there, or else with the answer to the ping.
    asks: bool,
    ready: bool,
    payload: u64,
}

/// Subscriptions of a subscriber: to the messages, and to the answer of JetStream.
pub const MESSAGES: &str = "1";
pub const ANSWERS: &str = "2";

impl Nats {
    /// A subscriber; `asks` for a consumer of JetStream, or does not.
    pub fn new(asks: bool) -> Self {
        Self { parser: Parser::default(), asks, ready: false, payload: 0 }
    }
}

/// An answer of JetStream, if it is no error.
pub fn granted(payload: &[u8]) -> Result<(), Fault> {
    let text = String::from_utf8_lossy(payload);
    if text.contains("\"error\"") { Err(format!("error of JetStream: {text}")) } else { Ok(()) }
}

impl Wire for Nats {
    fn take(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> Result<u64, Fault> {
        let mut events = 0;
        let Self { parser, asks, ready, payload } = self;
        parser.take(bytes, |message| {
            match message {
                NatsMessage::Message { subscription: ANSWERS, payload, .. } => {
                    granted(payload)?;
                    *ready = true;
                }
                NatsMessage::Message { bytes, .. } => {
                    events += 1;
                    *payload += bytes;
                }
                NatsMessage::Pong => *ready |= !*asks,
                NatsMessage::Ping => reply.extend_from_slice(b"PONG\r\n"),
            }
            Ok(())
        })?;
        Ok(events)
    }

    fn ready(&self) -> bool {
        self.ready
    }

    fn payload(&self) -> Option<u64> {
        Some(self.payload)
    }
}
