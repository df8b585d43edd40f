//! Resynchronization: where framing goes on behind a value that was cut off.
//!
//! The first byte of each line within a value, behind its white space, is compared with what JSON allows there:
//!
//! - **No byte at all**: X separates messages by lines, and sends an empty one as a heartbeat. The value ends, and the line
//!   is a heartbeat. Some printers make one line without content of an empty array or object, though: one with spaces says
//!   nothing, and one directly behind an opening bracket is a *candidate* (see below) until the next line.
//! - **A byte that cannot follow** the last one before the line break: the value ends, and framing goes on with the line.
//! - **A byte that can**: the value goes on. If the line begins an object or an array and is not indented, it may still be
//!   a message of its own, behind a value that was cut off at a colon or within an array. It is remembered as the
//!   *candidate*. Once it has ended and the value goes on, it was a part of the value. If the value turns out to be cut
//!   off, too long, too deep, or does not end before the stream does, framing goes on with the candidate.
//!
//! What is left behind is one malformed value. Everything depends on bytes and their order alone, so that any chunking
//! gives the same messages. A candidate needs the bytes behind it to be read again: at most `message_bytes_max` of them,
//! and at most once for each level of `depth_max`.

use bytes::Bytes;

use super::value::{Candidate, PartialValue};
use super::{ArrayState, Framed, Framer, MalformedReason, ScanState};

impl Framer {
    /// Reads the white space at the beginning of a line within a value, and judges the byte behind it.
    pub(super) fn scan_line(&mut self, piece: &[u8]) -> Option<Framed> {
        while let Some(&byte) = piece.get(self.at) {
            match byte {
                b'\r' => {}
                b' ' | b'\t' => self.value.indented = true,
                b'\n' if self.value.indented => self.value.indented = false,
                b'\n' if self.value.may_be_empty_container() && !self.is_unwanted(self.value_bytes()) => {
                    self.value.note_empty_line(self.value_bytes());
                }
                _ => return self.judge_line(byte),
            }
            self.at += 1;
        }
        None
    }

    /// Bytes of the value before the one that is being read.
    fn value_bytes(&self) -> u64 {
        self.value.bytes + (self.at - self.value.start) as u64
    }

    fn judge_line(&mut self, byte: u8) -> Option<Framed> {
        let bytes = self.value_bytes();
        let ended = byte == b'\n' || !self.value.continues_with(byte);
        match self.value.candidate {
            Some(candidate) if ended || self.is_unwanted(bytes) => Some(self.resume_at(candidate)),
            _ if ended => {
                self.kept = Vec::new();
                Some(self.abandon(bytes))
            }
            _ => {
                if bytes <= self.message_bytes_max as u64 {
                    self.value.note_line(byte, bytes);
                }
                self.place = ScanState::InValue;
                None
            }
        }
    }

    /// Ends the value before the candidate, and has the bytes from there on read again.
    pub(super) fn resume_at(&mut self, candidate: Candidate) -> Framed {
        match candidate.at.checked_sub(self.value.bytes) {
            Some(behind) => {
                self.at = self.value.start + behind as usize;
                self.kept = Vec::new();
            }
            None => {
                // The value began in an earlier piece, so all of this one belongs to it, and is read again too.
                let again = self.kept.split_off(candidate.at as usize);
                self.kept = Vec::new();
                self.pieces.push_front(Bytes::from(again));
                self.at = 0;
            }
        }
        self.abandon(candidate.at)
    }

    /// Ends the value after this many bytes as one that was cut off.
    fn abandon(&mut self, bytes: u64) -> Framed {
        self.value = PartialValue::default();
        self.place = ScanState::Between;
        self.array = ArrayState::No;
        // The line break that showed it was its delimiter.
        self.owes_delimiter = false;
        Framed::Malformed { bytes, reason: MalformedReason::Unfinished, text: Bytes::new() }
    }
}

#[cfg(test)]
mod tests;
