//! Content codings of a body: identity and gzip, decoded piece by piece.
//!
//! Responsibilities: the `content-encoding` header, and the decoding of a body in bounded memory. Does not own: the
//! request's `accept-encoding`, and the meaning of the bytes.
//!
//! Design: a gzip body is a series of members (RFC 1952, 2.2). Some servers end a member at each flush, and the decoder
//! of the HTTP client reads only one member. Names of codings are case-insensitive, and `x-gzip` is gzip (RFC 9110,
//! 8.4.1). Zero bytes after a member are padding. Other bytes that are no member are an error.
//!
//! # Invariants
//! - The decoded bytes do not depend on how the encoded bytes were split.
//! - A decoded piece has at most [`PIECE_BYTES_MAX`], whatever the compression ratio (I9).
//! - Bytes decoded before an error, or before the end, are handed over first.
//! - A body that ends as HTTP requires, but within a gzip member, ends without an error: the peer stopped its
//!   compressor, and lost nothing that it had flushed.

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::sanitize::sanitize;
use super::{BodyError, BodyErrorKind};

/// Maximum bytes of a decoded piece.
const PIECE_BYTES_MAX: usize = 32 << 10;

/// Maximum window of gzip, as a power of two.
const WINDOW_BITS: u8 = 15;

/// A body, encoded or decoded.
type BodyStream = BoxStream<'static, Result<Bytes, BodyError>>;

/// Content coding of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Not encoded.
    Identity,
    /// A series of gzip members.
    Gzip,
    /// A coding that was not requested, with the text of the header.
    Unsupported(String),
}

impl Coding {
    /// Parses all `content-encoding` lines of a header.
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

/// Decodes a body. An unsupported coding yields one error and nothing else.
pub(super) fn decoded<S>(coding: Coding, body: S) -> BodyStream
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

/// A gzip body in the process of decoding.
struct Decoding {
    body: BodyStream,
    gunzip: Gunzip,
}

impl Decoding {
    /// Returns the next decoded piece. Dropping the future drops the stream.
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

/// Decodes a series of gzip members from pieces of any size.
#[derive(Default)]
struct Gunzip {
    encoded: Bytes,
    /// Member in the process of decoding.
    member: Option<Decompress>,
    /// A complete member was decoded: zero bytes may follow.
    any_member: bool,
    /// Decoding error; returned after all bytes before it, and then decoding is over.
    failed: Option<BodyError>,
    over: bool,
    /// Output buffer, from which pieces are copied so that each owns only its own bytes.
    scratch: Vec<u8>,
}

impl Gunzip {
    /// Sets the next encoded piece. The previous one must be used up: [`Gunzip::next`] returned `None`.
    fn push(&mut self, encoded: Bytes) {
        self.encoded = encoded;
    }

    /// Returns the next decoded piece, `None` if more encoded bytes are needed.
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

    /// Decodes up to the capacity of the buffer. Returns false if these bytes yield nothing more.
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
                let what = if self.any_member { "invalid data after a gzip member" } else { "body is not gzip" };
                self.failed = Some(undecodable(format!("{what}: {error}")));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
