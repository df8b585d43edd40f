//! The messages of a Subscribe stream: gRPC's prefixes, and of the protobuf as much as counting events takes.

use std::io::Read;

use super::http2::Frames;
use super::{Fault, Wire};

/// The fault of a server that was asked for compression and does not do it.
pub const NOT_COMPRESSED: &str = "it answers without grpc-encoding";

const PREFIX_BYTES: usize = 5;
/// Fields of `SubscribeResponse`, `EventBatch` and `Event`.
const EVENT_BATCH: u64 = 3;
const CAUGHT_UP: u64 = 5;
const EVENTS: u64 = 1;
const JSON: u64 = 15;
/// The key of `Event.sequence`, a varint: the first of an event.
const SEQUENCE_KEY: u64 = 1 << 3;

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Gzip,
    Zstd,
}

impl Codec {
    /// Its name in `grpc-encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn decode(self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        match self {
            Self::Gzip => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).map(|_| ()),
            Self::Zstd => zstd::stream::copy_decode(bytes, &mut out),
        }
        .map_err(|error| format!("a message that is no {}: {error}", self.name()))?;
        Ok(out)
    }
}

/// A Subscribe stream.
#[derive(Default)]
pub struct Grpc {
    frames: Frames,
    messages: Messages,
}

impl Grpc {
    /// A stream whose compressed messages are decoded as they come, or else kept for later.
    pub fn compressed(codec: Codec, at_once: bool) -> Self {
        Self { messages: Messages { codec: Some(codec), at_once, ..Messages::default() }, ..Self::default() }
    }
}

impl Wire for Grpc {
    fn take(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> Result<u64, Fault> {
        let before = self.messages.walk.events;
        self.frames.take(bytes, reply, |data| self.messages.take(data))?;
        Ok(self.messages.walk.events - before)
    }

    fn ready(&self) -> bool {
        self.messages.walk.caught_up
    }

    fn payload(&self) -> Option<u64> {
        Some(self.messages.walk.payload)
    }

    fn decode(&mut self) -> Result<u64, Fault> {
        let before = self.messages.walk.events;
        for message in std::mem::take(&mut self.messages.kept) {
            self.messages.decoded(&message)?;
        }
        Ok(self.messages.walk.events - before)
    }
}

#[derive(Default)]
struct Messages {
    prefix: Vec<u8>,
    left: usize,
    codec: Option<Codec>,
    at_once: bool,
    /// The compressed message that is coming in.
    coming: Vec<u8>,
    kept: Vec<Vec<u8>>,
    walk: Walk,
}

impl Messages {
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if self.prefix.len() < PREFIX_BYTES {
                let part = bytes.len().min(PREFIX_BYTES - self.prefix.len());
                self.prefix.extend_from_slice(&bytes[..part]);
                bytes = &bytes[part..];
                if self.prefix.len() < PREFIX_BYTES {
                    break;
                }
                let length: [u8; 4] = self.prefix[1..].try_into().expect("five bytes less one are four");
                self.left = u32::from_be_bytes(length) as usize;
            }
            let part;
            (part, bytes) = bytes.split_at(bytes.len().min(self.left));
            self.left -= part.len();
            let compressed = self.prefix[0] == 1;
            if compressed {
                self.coming.extend_from_slice(part);
            } else {
                let before = self.walk.events;
                self.walk.take(part)?;
                // Small messages may come as they are; events may not, where compression was agreed on.
                if self.codec.is_some() && self.walk.events > before {
                    return Err(NOT_COMPRESSED.into());
                }
            }
            if self.left == 0 {
                self.whole(compressed)?;
                self.prefix.clear();
            }
        }
        Ok(())
    }

    fn whole(&mut self, compressed: bool) -> Result<(), Fault> {
        if !compressed {
            return self.walk.end();
        }
        let message = std::mem::take(&mut self.coming);
        // Until the stream has caught up it is decoded anyway: the load waits for that.
        if self.at_once || !self.walk.caught_up {
            return self.decoded(&message);
        }
        self.kept.push(message);
        Ok(())
    }

    fn decoded(&mut self, message: &[u8]) -> Result<(), Fault> {
        let codec = self.codec.ok_or("a compressed message that was not asked for")?;
        self.walk.take(&codec.decode(message)?)?;
        self.walk.end()
    }
}

/// Goes through messages field by field, whatever their order, and steps over what it does not count.
#[derive(Default)]
struct Walk {
    step: Step,
    /// The varint that is being read.
    value: u64,
    shift: u32,
    /// Bytes of the batch that are to come, while within one.
    batch: Option<usize>,
    /// Bytes of the event that are to come, while within one.
    event: Option<usize>,
    /// Whether the sequence of the event is still to come.
    at_sequence: bool,
    sequence: u64,
    events: u64,
    /// Bytes of the posts.
    payload: u64,
    caught_up: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Key,
    Varint,
    Length(u64),
    Skip(usize),
    Sequence,
}

impl Walk {
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if let Step::Skip(left) = self.step {
                let part = bytes.len().min(left);
                bytes = &bytes[part..];
                self.passed(part);
                self.skip(left - part);
            } else {
                let byte = bytes[0];
                bytes = &bytes[1..];
                self.passed(1);
                self.value |= u64::from(byte & 0x7f).checked_shl(self.shift).ok_or("a varint of over ten bytes")?;
                self.shift += 7;
                if byte & 0x80 == 0 {
                    let value = std::mem::take(&mut self.value);
                    self.shift = 0;
                    self.read(value)?;
                }
            }
            if self.event == Some(0) && self.step == Step::Key {
                self.event = None;
                self.events += 1;
            }
            if self.batch == Some(0) && self.step == Step::Key {
                self.batch = None;
            }
        }
        Ok(())
    }

    fn passed(&mut self, bytes: usize) {
        for left in [&mut self.batch, &mut self.event].into_iter().flatten() {
            *left = left.saturating_sub(bytes);
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.step = if bytes == 0 { Step::Key } else { Step::Skip(bytes) };
    }

    fn read(&mut self, value: u64) -> Result<(), Fault> {
        match self.step {
            Step::Key if std::mem::take(&mut self.at_sequence) => {
                if value != SEQUENCE_KEY {
                    return Err("an event that does not begin with its sequence".into());
                }
                self.step = Step::Sequence;
            }
            Step::Key => {
                self.step = match value & 7 {
                    0 => Step::Varint,
                    1 => Step::Skip(8),
                    2 => Step::Length(value >> 3),
                    5 => Step::Skip(4),
                    wire => return Err(format!("a field of wire type {wire}")),
                }
            }
            Step::Varint => self.step = Step::Key,
            Step::Length(field) => self.enter(field, value as usize),
            Step::Sequence => {
                if value <= self.sequence {
                    return Err(format!("sequence {value} after {}", self.sequence));
                }
                self.sequence = value;
                self.step = Step::Key;
            }
            Step::Skip(_) => return Err("a varint within what is skipped".into()),
        }
        Ok(())
    }

    fn enter(&mut self, field: u64, bytes: usize) {
        match (self.batch, field) {
            _ if self.event.is_some() => {
                self.payload += if field == JSON { bytes as u64 } else { 0 };
                self.skip(bytes);
            }
            (None, EVENT_BATCH) => {
                self.batch = Some(bytes);
                self.step = Step::Key;
            }
            (Some(_), EVENTS) => {
                self.event = Some(bytes);
                self.at_sequence = true;
                self.step = Step::Key;
            }
            (batch, _) => {
                self.caught_up |= batch.is_none() && field == CAUGHT_UP;
                self.skip(bytes);
            }
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        if self.step == Step::Key && self.batch.is_none() { Ok(()) } else { Err("a message that breaks off".into()) }
    }
}
