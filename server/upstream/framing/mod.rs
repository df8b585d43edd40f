//! Framing of bytes into JSON values, pure.
//!
//! X documents one value per line, ended by CRLF. X and its predecessors also sent lines ended by LF, values over
//! several lines, arrays, and errors directly followed by the next post (tweepy#208, demian85/gnip#32). All of these
//! agree on depth, so values are framed by depth, with strings respected, and line breaks only delimit.
//!
//! A truncated value must not swallow later messages. The evidence lies at its line breaks, which compact values do not
//! have: a raw line break in a string, an empty line, or a line that JSON does not allow there ends the value as
//! malformed, and framing continues with that line (`resync`).

use std::collections::VecDeque;

use bytes::Bytes;
use memchr::{memchr, memchr3};

mod block;
mod framed;
mod resync;
mod scan_state;
mod value;

use block::ByteBlock;
pub use framed::{Framed, FramerRemainder, MalformedReason};
use scan_state::ScanState;
use value::{BlockEnd, PartialValue};

/// Maximum nesting of a message: 10 is the deepest of about 450 real posts, serde_json stops at 128.
pub const DEPTH_MAX: u32 = 128;

/// Bytes kept of a line that is not JSON, to recognize announcements of X in plain text.
const TEXT_BYTES_MAX: usize = 512;

/// Splits a stream of bytes into JSON values by depth, independent of how the bytes are split into pieces.
///
/// White space between values delimits them, or is a heartbeat. The elements of a top-level array are separate values.
/// The framer keeps at most one incomplete value of `message_bytes_max`, and nothing of a longer one.
///
/// [`Framer::next`] must be called until it returns `None` before the next piece is pushed.
#[derive(Debug)]
pub struct Framer {
    message_bytes_max: usize,
    depth_max: u32,
    /// Pieces not scanned yet; the first one from `at` on.
    pieces: VecDeque<Bytes>,
    at: usize,
    place: ScanState,
    /// The array whose elements the values are.
    array: ArrayState,
    /// The next line break ends a value or a line, and is therefore no heartbeat.
    expects_delimiter: bool,
    value: PartialValue,
    /// Bytes of the value in earlier pieces, or the head of a line that is not JSON.
    kept: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ArrayState {
    No,
    /// After `[` or `,`.
    ElementNext,
    /// After an element.
    CommaNext,
}

impl Framer {
    /// Creates a framer for the beginning of a stream.
    pub fn new(message_bytes_max: usize, depth_max: u32) -> Self {
        Self {
            message_bytes_max,
            depth_max,
            pieces: VecDeque::new(),
            at: 0,
            place: ScanState::Between,
            array: ArrayState::No,
            expects_delimiter: false,
            value: PartialValue::default(),
            kept: Vec::new(),
        }
    }

    /// Pushes the next piece of the stream.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// Returns the next complete item; `None` if more bytes are needed.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Framed> {
        while let Some(piece) = self.pieces.front() {
            let piece = piece.clone();
            let framed = self.scan(&piece).or_else(|| self.leave(&piece));
            if framed.is_some() {
                return framed;
            }
        }
        None
    }

    /// Returns the rest after the end of the stream, once `next` has returned `None`.
    pub fn finish(&mut self) -> FramerRemainder {
        let mut rest = FramerRemainder::default();
        loop {
            match self.place {
                ScanState::Between => {}
                ScanState::InText => rest.framed.push(self.end_text(&[])),
                ScanState::InValue | ScanState::AtLine | ScanState::InString | ScanState::Escaped => {
                    if let Some(candidate) = self.value.candidate {
                        rest.framed.push(self.resume_at(candidate));
                        rest.framed.extend(std::iter::from_fn(|| self.next()));
                        continue;
                    }
                    rest.partial_bytes = std::mem::take(&mut self.value).bytes;
                    (self.kept, self.place) = (Vec::new(), ScanState::Between);
                }
            }
            return rest;
        }
    }

    fn scan(&mut self, piece: &Bytes) -> Option<Framed> {
        while self.at < piece.len() {
            if self.scan_blocks(piece) {
                return Some(self.end_value(piece, None));
            }
            if self.at == piece.len() {
                break;
            }
            let framed = match self.place {
                ScanState::Between => self.scan_between(piece),
                ScanState::InValue => self.scan_value(piece),
                ScanState::AtLine => self.scan_line(piece),
                ScanState::InString => self.scan_string(piece),
                ScanState::Escaped => self.scan_escaped(piece),
                ScanState::InText => self.scan_text(piece),
            };
            if framed.is_some() {
                return framed;
            }
        }
        None
    }

    /// Skips complete blocks of a value in which nothing is broken. Returns true if the value ends; `at` is after it
    /// then.
    fn scan_blocks(&mut self, piece: &[u8]) -> bool {
        while matches!(self.place, ScanState::InValue | ScanState::InString | ScanState::Escaped)
            && let Some(bytes) = piece[self.at..].first_chunk()
            && let Some(block) = ByteBlock::read(bytes, self.place)
        {
            match self.value.skip(&block, self.depth_max) {
                Some(BlockEnd::End(bytes)) => {
                    self.at += bytes;
                    return true;
                }
                Some(BlockEnd::Line(bytes)) => {
                    self.at += bytes;
                    self.place = ScanState::InValue;
                    return false;
                }
                None => {}
            }
            self.at += block::BYTES;
            self.place = block.after;
        }
        false
    }

    fn scan_between(&mut self, piece: &[u8]) -> Option<Framed> {
        let byte = piece[self.at];
        self.at += 1;
        match (byte, self.array) {
            // A carriage return before a line feed, control characters and the bytes of a byte order mark are no
            // message, and must not affect the next one.
            (b'\r', _) | (..=0x08 | 0x0b..=0x1f | 0x7f | 0xef | 0xbb | 0xbf, _) => None,
            (b'\n', _) if self.expects_delimiter => {
                self.expects_delimiter = false;
                None
            }
            (b'\n', _) => Some(Framed::Heartbeat),
            // Indentation, or a space before the end of a line.
            (b' ' | b'\t', array) if array != ArrayState::No || self.expects_delimiter => None,
            (b' ' | b'\t', _) => Some(Framed::Heartbeat),
            (b',', ArrayState::CommaNext) => self.between(ArrayState::ElementNext),
            (b']', ArrayState::CommaNext | ArrayState::ElementNext) => self.between(ArrayState::No),
            (b'[', ArrayState::No | ArrayState::CommaNext) => self.between(ArrayState::ElementNext),
            (b'{', array) => self.begin_value(array, false),
            (b'[', ArrayState::ElementNext) => self.begin_value(ArrayState::ElementNext, true),
            _ => {
                self.at -= 1;
                self.value = PartialValue { start: self.at, ..PartialValue::default() };
                self.place = ScanState::InText;
                None
            }
        }
    }

    fn between(&mut self, array: ArrayState) -> Option<Framed> {
        self.array = array;
        self.expects_delimiter = true;
        None
    }

    fn begin_value(&mut self, array: ArrayState, nested_array: bool) -> Option<Framed> {
        // Without a comma before it, the array was truncated, and this is a separate value.
        self.array = if array == ArrayState::ElementNext { ArrayState::CommaNext } else { ArrayState::No };
        self.value = PartialValue::begin(self.at - 1, nested_array);
        self.place = ScanState::InValue;
        None
    }

    fn scan_value(&mut self, piece: &Bytes) -> Option<Framed> {
        while let Some(found) = piece[self.at..].iter().position(|&byte| STRUCTURE[usize::from(byte)]) {
            self.at += found + 1;
            match piece[self.at - 1] {
                b'"' => {
                    self.place = ScanState::InString;
                    return None;
                }
                open @ (b'{' | b'[') => self.value.open(open == b'[', self.depth_max),
                b'\n' => {
                    self.value.begin_line(&piece[self.value.start..self.at]);
                    self.place = ScanState::AtLine;
                    return None;
                }
                _ => {
                    if self.value.close() {
                        return Some(self.end_value(piece, None));
                    }
                }
            }
        }
        self.at = piece.len();
        None
    }

    fn scan_string(&mut self, piece: &Bytes) -> Option<Framed> {
        let Some(found) = memchr3(b'"', b'\\', b'\n', &piece[self.at..]) else {
            self.at = piece.len();
            return None;
        };
        self.at += found + 1;
        match piece[self.at - 1] {
            b'"' => self.place = ScanState::InValue,
            b'\\' => self.place = ScanState::Escaped,
            _ => return Some(self.end_value(piece, Some(MalformedReason::BrokenString))),
        }
        None
    }

    fn scan_escaped(&mut self, piece: &Bytes) -> Option<Framed> {
        self.at += 1;
        if piece[self.at - 1] == b'\n' {
            return Some(self.end_value(piece, Some(MalformedReason::BrokenString)));
        }
        self.place = ScanState::InString;
        None
    }

    fn scan_text(&mut self, piece: &[u8]) -> Option<Framed> {
        let Some(found) = memchr(b'\n', &piece[self.at..]) else {
            self.at = piece.len();
            return None;
        };
        self.at += found + 1;
        let line = &piece[self.value.start..self.at];
        Some(self.end_text(line))
    }

    /// Ends the value before `at`. A broken string ends with its line, so the line break is consumed.
    fn end_value(&mut self, piece: &Bytes, broken: Option<MalformedReason>) -> Framed {
        if let Some(candidate) = self.value.candidate
            && (broken.is_some() || self.is_unwanted(self.value.bytes + (self.at - self.value.start) as u64))
        {
            return self.resume_at(candidate);
        }
        let value = std::mem::take(&mut self.value);
        let kept = std::mem::take(&mut self.kept);
        let bytes = value.bytes + (self.at - value.start) as u64;
        self.place = ScanState::Between;
        self.expects_delimiter = broken.is_none();
        if broken.is_some() {
            self.array = ArrayState::No;
        }
        if bytes > self.message_bytes_max as u64 {
            return Framed::Oversized { bytes };
        }
        let reason = match broken {
            Some(_) => broken,
            None if value.nested_array => Some(MalformedReason::NestedArray),
            None if value.too_deep => Some(MalformedReason::Depth),
            None => None,
        };
        if let Some(reason) = reason {
            return Framed::Malformed { bytes, reason, text: Bytes::new() };
        }
        let whole =
            if value.bytes == 0 { piece.slice(value.start..self.at) } else { assembled(kept, &piece[..self.at]) };
        match std::str::from_utf8(&whole) {
            Ok(_) => Framed::Value(whole),
            Err(_) => Framed::Malformed { bytes, reason: MalformedReason::Encoding, text: Bytes::new() },
        }
    }

    fn end_text(&mut self, line: &[u8]) -> Framed {
        let value = std::mem::take(&mut self.value);
        let bytes = value.bytes + line.len() as u64;
        let mut text = std::mem::take(&mut self.kept);
        text.extend_from_slice(&line[..line.len().min(TEXT_BYTES_MAX.saturating_sub(text.len()))]);
        self.place = ScanState::Between;
        self.array = ArrayState::No;
        self.expects_delimiter = false;
        let text = Bytes::copy_from_slice(text.trim_ascii_end());
        Framed::Malformed { bytes, reason: MalformedReason::NotAnObject, text }
    }

    /// True if the value is dropped at this length.
    fn is_unwanted(&self, bytes: u64) -> bool {
        self.value.too_deep || self.value.nested_array || bytes > self.message_bytes_max as u64
    }

    /// Ends a piece: keeps its bytes of an incomplete item, unless the item is dropped.
    fn leave(&mut self, piece: &[u8]) -> Option<Framed> {
        if self.place != ScanState::Between {
            let part = &piece[self.value.start..];
            let bytes = self.value.bytes + part.len() as u64;
            let unwanted = self.is_unwanted(bytes);
            if let Some(candidate) = self.value.candidate.filter(|_| unwanted) {
                return Some(self.resume_at(candidate));
            }
            self.value.note_last(part);
            (self.value.bytes, self.value.start) = (bytes, 0);
            if self.place == ScanState::InText {
                let room = TEXT_BYTES_MAX.saturating_sub(self.kept.len());
                self.kept.extend_from_slice(&part[..part.len().min(room)]);
            } else if unwanted {
                self.kept = Vec::new();
            } else {
                self.kept.extend_from_slice(part);
            }
        }
        self.pieces.pop_front();
        self.at = 0;
        None
    }
}

/// Assembles a value that spans several pieces.
fn assembled(mut kept: Vec<u8>, last: &[u8]) -> Bytes {
    kept.reserve_exact(last.len());
    kept.extend_from_slice(last);
    kept.into()
}

/// Bytes with a meaning outside of strings.
const STRUCTURE: [bool; 256] = {
    let mut table = [false; 256];
    table[b'"' as usize] = true;
    table[b'{' as usize] = true;
    table[b'}' as usize] = true;
    table[b'[' as usize] = true;
    table[b']' as usize] = true;
    table[b'\n' as usize] = true;
    table
};

#[cfg(test)]
mod tests;
