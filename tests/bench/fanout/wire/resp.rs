//! The protocol of Redis, and the two kinds of its subscribers.

use super::{Fault, Wire};

/// A value that came, or the head of one that holds others.
pub enum Token<'a> {
    Array(usize),
    /// Its length, and its bytes if it is short.
    Bulk(u64, &'a [u8]),
    Number,
    Word,
}

/// Longer values are payloads, of which only the length counts.
const KEPT_BYTES_MAX: usize = 256;

/// Cuts the stream.
#[derive(Default)]
pub struct Parser {
    line: Vec<u8>,
    /// Bytes of a bulk string and its line end.
    size: usize,
    left: usize,
    kept: Vec<u8>,
}

impl Parser {
    /// Reports the tokens that are complete within these bytes.
    pub fn take(
        &mut self,
        mut bytes: &[u8],
        mut accept: impl FnMut(Token<'_>) -> Result<(), Fault>,
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
                    let kept = self.kept.len().saturating_sub(2);
                    accept(Token::Bulk(self.size as u64 - 2, &self.kept[..kept]))?;
                    self.kept.clear();
                }
                continue;
            }
            let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end..];
            if self.line.ends_with(b"\n") {
                self.line(&mut accept)?;
                self.line.clear();
            }
        }
        Ok(())
    }

    fn line(&mut self, accept: &mut impl FnMut(Token<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        let line = String::from_utf8_lossy(&self.line);
        let line = line.trim_end();
        let number = |text: &str| text.parse::<usize>().map_err(|_| format!("error of Redis: {line}"));
        match line.split_at_checked(1) {
            Some(("*", count)) => accept(Token::Array(number(count)?)),
            Some(("$", size)) => {
                self.size = number(size)? + 2;
                self.left = self.size;
                Ok(())
            }
            Some((":", _)) => accept(Token::Number),
            Some(("+", _)) => accept(Token::Word),
            _ => Err(format!("error of Redis: {line}")),
        }
    }
}

/// A command.
pub fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// A subscriber of a channel: each message is an array of kind, channel and payload.
#[derive(Default)]
pub struct PubSub {
    parser: Parser,
    /// Values of the array so far.
    at: usize,
    ready: bool,
    payload: u64,
}

impl Wire for PubSub {
    fn take(&mut self, bytes: &[u8], _reply: &mut Vec<u8>) -> Result<u64, Fault> {
        let mut events = 0;
        let Self { parser, at, ready, payload } = self;
        parser.take(bytes, |token| {
            *at += 1;
            match token {
                Token::Array(_) => *at = 0,
                // The answer to SUBSCRIBE ends with a number.
                Token::Number => *ready = true,
                Token::Bulk(size, _) if *at == 3 => {
                    events += 1;
                    *payload += size;
                }
                Token::Bulk(..) | Token::Word => {}
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

/// A reader of a stream, that asks again with the last id it got. An answer is an array of streams, each a name and an
/// array of entries, each an id and an array of fields and values.
pub struct Stream {
    parser: Parser,
    /// Values that are missing in each of the arrays begun, the outermost first.
    open: Vec<usize>,
    last: Vec<u8>,
    payload: u64,
}

/// Depth of an entry's parts, and of its fields and values.
const ENTRY_DEPTH: usize = 4;
const FIELD_DEPTH: usize = 5;
/// Names of the stream and of the field.
pub const KEY: &[u8] = b"s";
pub const FIELD: &[u8] = b"p";
/// Entries of an answer at most.
const COUNT: &[u8] = b"100";

impl Stream {
    /// A reader from the beginning of the stream.
    pub fn new() -> Self {
        Self { parser: Parser::default(), open: Vec::new(), last: b"0-0".to_vec(), payload: 0 }
    }

    /// Asks for what comes behind the last id.
    pub fn ask(last: &[u8], out: &mut Vec<u8>) {
        command(out, &[b"XREAD", b"COUNT", COUNT, b"BLOCK", b"0", b"STREAMS", KEY, last]);
    }
}

impl Wire for Stream {
    fn take(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> Result<u64, Fault> {
        let mut events = 0;
        let Self { parser, open, last, payload } = self;
        parser.take(bytes, |token| {
            match token {
                Token::Array(count) => {
                    open.push(count);
                    return Ok(());
                }
                Token::Bulk(_, id) if open.len() == ENTRY_DEPTH => {
                    last.clear();
                    last.extend_from_slice(id);
                }
                Token::Bulk(size, _) if open.len() == FIELD_DEPTH && open.last() == Some(&1) => *payload += size,
                Token::Bulk(..) | Token::Number | Token::Word => {}
            }
            // A value is there; an array that has all of its own is a value of the one around it.
            while let Some(missing) = open.last_mut() {
                *missing -= 1;
                if *missing > 0 {
                    break;
                }
                events += u64::from(open.len() == ENTRY_DEPTH);
                open.pop();
                if open.is_empty() {
                    Self::ask(last, reply);
                }
            }
            Ok(())
        })?;
        Ok(events)
    }

    fn ready(&self) -> bool {
        true
    }

    fn payload(&self) -> Option<u64> {
        Some(self.payload)
    }
}
