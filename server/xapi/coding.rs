//! Content codings of a body: identity and gzip, decoded piece by piece.
//!
//! Responsibilities: the `content-encoding` header, and the decoding of a body in bounded memory. Does not own: the
//! request's `accept-encoding`, and the meaning of the bytes.
//!
//! Design: a gzip body is a series of members (RFC 1952, 2.2). Servers that end a member at each flush are known, and the
//! HTTP client's own decoder reads one member only. Names of codings do not depend on case, and `x-gzip` is gzip (RFC
//! 9110, 8.4.1). Zero bytes behind a member are padding. Other bytes that are no member are an error.
//!
//! Invariants
//! - The pieces do not depend on how the encoded bytes were split, apart from their borders.
//! - A decoded piece has at most [`PIECE_BYTES_MAX`], whatever the ratio of the compression (I9).
//! - What was decoded before an error, or before the end, is handed over first.
//! - A body that ends between two chunks of HTTP as it should, but within a gzip member, ends without an error: the
//!   peer stopped its compressor, and lost nothing that it had flushed.

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::sanitize::sanitize;
use super::{BodyError, BodyErrorKind};

/// Longest decoded piece.
const PIECE_BYTES_MAX: usize = 32 << 10;

/// Largest window of gzip, as a power of two.
const WINDOW_BITS: u8 = 15;

/// A body, encoded or decoded.
type Body = BoxStream<'static, Result<Bytes, BodyError>>;

/// How a body is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is.
    Identity,
    /// A series of gzip members.
    Gzip,
    /// Something that was not asked for; with the text of the header.
    Unsupported(String),
}

impl Coding {
    /// Reads all `content-encoding` lines of a header.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let lines: Vec<_> =
            headers.get_all(CONTENT_ENCODING).iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        let names = || lines.iter().flat_map(|line| line.split(',')).map(str::trim);
        let mut applied = names().filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
        match (applied.next(), applied.next()) {
            (None, _) => Self::Identity,
            (Some(name), None) if ["gzip", "x-gzip"].iter().any(|gzip| name.eq_ignore_ascii_case(gzip)) => Self::Gzip,
            _ => Self::Unsupported(sanitize(&lines.join(", "))),
        }
    }
}

/// Returns the body without its coding. For an unsupported one that is an error and nothing else.
pub(super) fn decoded<S>(coding: Coding, body: S) -> Body
where
    S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
{
    match coding {
        Coding::Identity => body.boxed(),
        Coding::Gzip => {
            stream::unfold(Decoding { body: body.boxed(), gunzip: Gunzip::default() }, Decoding::next).boxed()
        }
        Coding::Unsupported(name) => {
            let detail = format!("content-encoding \"{name}\" is not supported; only gzip was requested");
            stream::iter([Err(undecodable(detail))]).boxed()
        }
    }
}

fn undecodable(detail: String) -> BodyError {
    BodyError { kind: BodyErrorKind::Undecodable, detail }
}

/// A gzip body that is being decoded.
struct Decoding {
    body: Body,
    gunzip: Gunzip,
}

impl Decoding {
    /// Returns the next decoded piece. Dropping the future loses nothing but the stream.
    async fn next(mut self) -> Option<(Result<Bytes, BodyError>, Self)> {
        loop {
            if let Some(piece) = self.gunzip.next().transpose() {
                return Some((piece, self));
            }
            match self.body.next().await? {
                Ok(encoded) => self.gunzip.push(encoded),
                Err(error) => return Some((Err(error), self)),
            }
        }
    }
}

/// Decodes a series of gzip members, pushed in any pieces.
#[derive(Default)]
struct Gunzip {
    encoded: Bytes,
    /// The member that is being decoded.
    member: Option<Decompress>,
    /// A whole member was decoded: zero bytes may follow.
    any_member: bool,
    /// What is wrong with the bytes; told after everything before it, and then the decoding is over.
    failed: Option<BodyError>,
    over: bool,
    /// What is decoded at a time, copied out so that no piece holds more than its own bytes.
    scratch: Vec<u8>,
}

impl Gunzip {
    /// Takes the next encoded piece. The one before has to be used up: [`Gunzip::next`] returned `None`.
    fn push(&mut self, encoded: Bytes) {
        self.encoded = encoded;
    }

    /// Returns the next decoded piece, `None` if that needs more encoded bytes.
    fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.over {
            self.encoded.clear();
            return Ok(None);
        }
        if self.failed.is_none() {
            self.scratch.clear();
            self.scratch.reserve_exact(PIECE_BYTES_MAX);
            while self.scratch.len() < PIECE_BYTES_MAX && self.advance() {}
            if !self.scratch.is_empty() {
                return Ok(Some(Bytes::copy_from_slice(&self.scratch)));
            }
        }
        match self.failed.take() {
            Some(error) => {
                self.over = true;
                Err(error)
            }
            None => Ok(None),
        }
    }

    /// Decodes as much as there is room for; false if there is nothing more to be had from these bytes.
    fn advance(&mut self) -> bool {
        if self.member.is_none() {
            if self.any_member {
                let padding = self.encoded.iter().take_while(|byte| **byte == 0).count();
                self.encoded.advance(padding);
            }
            if self.encoded.is_empty() {
                return false;
            }
        }
        let member = self.member.get_or_insert_with(|| Decompress::new_gzip(WINDOW_BITS));
        let (read, written) = (member.total_in(), self.scratch.len());
        let status = member.decompress_vec(&self.encoded, &mut self.scratch, FlushDecompress::None);
        let read = (member.total_in() - read) as usize;
        self.encoded.advance(read);
        match status {
            Ok(Status::StreamEnd) => {
                (self.member, self.any_member) = (None, true);
                true
            }
            Ok(Status::Ok | Status::BufError) => read > 0 || self.scratch.len() > written,
            Err(error) => {
                let what =
                    if self.any_member { "no gzip member where one should begin, or a damaged one" } else { "no gzip" };
                self.failed = Some(undecodable(format!("{what}: {error}")));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
