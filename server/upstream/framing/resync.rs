//! Resynchronization: where framing continues after a truncated value.
//!
//! The first byte of each line within a value, after its white space, is compared with the bytes that JSON allows
//! there:
//!
//! - **No byte at all**: X separates messages by lines, and sends an empty one as a heartbeat. The value ends, and the
//!   line is a heartbeat. Exception: some printers write an empty array or object with an empty line inside. An empty
//!   line with spaces is ignored, and one directly after an opening bracket is a *candidate* (see below) until the next
//!   line.
//! - **A byte that is not allowed** after the last one before the line break: the value ends, and framing continues
//!   with the line.
//! - **A byte that is allowed**: the value continues. If the line begins an object or an array and is not indented, it
//!   may still be a separate message after a value that was truncated at a colon or within an array. It is stored as
//!   the *candidate*. If it ends and the value continues, it was a part of the value. If the value turns out to be
//!   truncated, too long, too deep, or does not end before the stream does, framing continues with the candidate.
//!
//! The truncated value becomes one malformed item. The result depends only on the bytes and their order, so that any
//! chunking gives the same messages. A candidate requires the bytes after it to be scanned again: at most
//! `message_bytes_max` of them, and at most once for each level of `depth_max`.

use bytes::Bytes;

use super::value::{LineCandidate, PartialValue};
use super::{ArrayState, Framed, Framer, MalformedReason, ScanState};

impl Framer {
    /// Scans the white space at the beginning of a line within a value, and checks the byte after it.
    pub(super) fn scan_line(&mut self, piece: &[u8]) -> Option<Framed> {
        while let Some(&byte) = piece.get(self.at) {
            match byte {
                b'\r' => {}
                b' ' | b'\t' => self.value.indented = true,
                b'\n' if self.value.indented => self.value.indented = false,
                b'\n' if self.value.may_be_empty_container() && !self.is_unwanted(self.value_bytes()) => {
                    self.value.note_empty_line(self.value_bytes());
                }
                _ => return self.check_line(byte),
            }
            self.at += 1;
        }
        None
    }

    /// Returns the bytes of the value before the current one.
    fn value_bytes(&self) -> u64 {
        self.value.bytes + (self.at - self.value.start) as u64
    }

    fn check_line(&mut self, byte: u8) -> Option<Framed> {
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

    /// Ends the value before the candidate, and rescans the bytes from the candidate on.
    pub(super) fn resume_at(&mut self, candidate: LineCandidate) -> Framed {
        match candidate.at.checked_sub(self.value.bytes) {
            Some(behind) => {
                self.at = self.value.start + behind as usize;
                self.kept = Vec::new();
            }
            None => {
                // The value began in an earlier piece: all of this piece belongs to it, and is scanned again too.
                let again = self.kept.split_off(candidate.at as usize);
                self.kept = Vec::new();
                self.pieces.push_front(Bytes::from(again));
                self.at = 0;
            }
        }
        self.abandon(candidate.at)
    }

    /// Ends the value after this many bytes as truncated.
    fn abandon(&mut self, bytes: u64) -> Framed {
        self.value = PartialValue::default();
        self.place = ScanState::Between;
        self.array = ArrayState::No;
        // The line break that revealed the truncation was its delimiter.
        self.expects_delimiter = false;
        Framed::Malformed { bytes, reason: MalformedReason::Unfinished, text: Bytes::new() }
    }
}

#[cfg(test)]
mod tests;
