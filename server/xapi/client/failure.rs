//! Kinds and texts of the failures of a request, by the types of the errors.

use std::error::Error as StdError;
use std::io;

use thiserror::Error;

use crate::secret::Secret;
use crate::xapi::redact::shown;
use crate::xapi::{BodyError, BodyErrorKind, ErrorKind, TransportError};

/// Error of a connector.
pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// Marks a failed name resolution; the text is that of its source.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct ResolveError(#[source] pub io::Error);

/// Marks a failed TLS handshake; the text is that of its source.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct TlsHandshakeError(#[source] pub BoxError);

/// Classifies a failed connect: no request was sent.
pub(super) fn connect_failure(error: &BoxError) -> TransportError {
    let error: &(dyn StdError + 'static) = &**error;
    let kind = if sources(error).any(|source| source.is::<ResolveError>()) {
        ErrorKind::Dns
    } else if has_timed_out(error) {
        ErrorKind::Timeout
    } else if sources(error).any(|source| source.is::<TlsHandshakeError>()) {
        ErrorKind::Tls
    } else {
        ErrorKind::Connect
    };
    TransportError { kind, detail: error_chain(error, None) }
}

/// Classifies a failed exchange: there is a connection, but no response. A server may echo the bearer.
pub(super) fn exchange_failure(error: &hyper::Error, bearer: &Secret) -> TransportError {
    // hyper cancels a request that it did not send. The innermost of its errors has the reason.
    let innermost = sources(error).filter_map(|source| source.downcast_ref::<hyper::Error>()).last().unwrap_or(error);
    let is_closed = innermost.is_incomplete_message() || innermost.is_canceled() || innermost.is_closed();
    let kind = if has_timed_out(error) {
        ErrorKind::Timeout
    } else if is_closed || sources(error).any(|source| source.is::<io::Error>()) {
        ErrorKind::Reset
    } else {
        ErrorKind::Protocol
    };
    TransportError { kind, detail: error_chain(error, Some(bearer)) }
}

/// Classifies a broken body.
pub(super) fn body_failure(error: &hyper::Error) -> BodyError {
    // Errors of chunked encoding and of TLS records have the same kinds.
    let is_tls = sources(error).any(|source| source.is::<rustls::Error>());
    let is_garbled =
        io_kinds(error).any(|kind| matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput));
    let kind = if is_garbled && !is_tls { BodyErrorKind::Undecodable } else { BodyErrorKind::Cut };
    BodyError { kind, detail: error_chain(error, None) }
}

fn has_timed_out(error: &(dyn StdError + 'static)) -> bool {
    io_kinds(error).any(|kind| kind == io::ErrorKind::TimedOut)
}

/// Returns the kinds of I/O errors in an error, outermost first; an error that wraps another one yields both.
fn io_kinds<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = io::ErrorKind> + use<'a> {
    sources(error).filter_map(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind)
}

/// Returns an error and its sources, outermost first.
fn sources<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> + use<'a> {
    std::iter::successors(Some(error), |error| {
        let error = *error;
        match error.downcast_ref::<io::Error>() {
            // Its source is the source of the error that it wraps.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

/// Formats an error and its sources as one printable line, each part once, without the bearer.
pub(super) fn error_chain(error: &(dyn StdError + 'static), bearer: Option<&Secret>) -> String {
    let mut line = error.to_string();
    for source in sources(error).skip(1) {
        let text = source.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
    }
    shown(&line, bearer.map(Secret::expose).unwrap_or_default())
}
