use bytes::Bytes;

/// Result of framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// A JSON object: balanced, valid UTF-8, within the maximum depth; not validated further.
    Value(Bytes),
    /// White space that no value needed as a delimiter.
    Heartbeat,
    /// A value longer than allowed.
    Oversized {
        /// Its length.
        bytes: u64,
    },
    /// Bytes that are no JSON object.
    Malformed {
        /// Their length.
        bytes: u64,
        /// Why they are malformed.
        reason: MalformedReason,
        /// The first 512 bytes, if it is a line between values: X reports some ends in plain text.
        text: Bytes,
    },
}

/// Why a part of the stream is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MalformedReason {
    /// Invalid UTF-8.
    Encoding,
    /// Nested too deeply.
    Depth,
    /// An array within the top-level array.
    NestedArray,
    /// No object: text, HTML, a bare number.
    NotAnObject,
    /// A string contains a bare line feed, which JSON requires to be escaped.
    BrokenString,
    /// Truncated: the next line does not continue it.
    Unfinished,
}

/// Result of framing the end of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FramerRemainder {
    /// Values and lines found in the unfinished value, and a last line of text, which needs no line break.
    pub framed: Vec<Framed>,
    /// Bytes of a truncated value.
    pub partial_bytes: u64,
}
