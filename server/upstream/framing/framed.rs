use bytes::Bytes;

/// Something that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// A JSON object: balanced, valid UTF-8, not deeper than allowed; not checked further.
    Value(Bytes),
    /// White space that no value needed.
    Heartbeat,
    /// A value longer than allowed.
    Oversized {
        /// How long it was.
        bytes: u64,
    },
    /// Something that is no JSON object.
    Malformed {
        /// How long it was.
        bytes: u64,
        /// What is wrong with it.
        reason: MalformedReason,
        /// Its first 512 bytes, if it is a line between values: X tells some ends in plain text.
        text: Bytes,
    },
}

/// What is wrong with a piece of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MalformedReason {
    /// It is not valid UTF-8.
    Encoding,
    /// It is nested too deeply.
    Depth,
    /// It is an array within the array.
    NestedArray,
    /// It is no object: text, HTML, a bare number.
    NotAnObject,
    /// A string in it is broken by a bare line feed; JSON wants it escaped.
    BrokenString,
    /// It is cut off: the line behind it does not continue it.
    Unfinished,
}

/// What is left when the stream has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FramerRemainder {
    /// What was taken for a part of a value that did not end, and a last line of text, which needs no line break.
    pub framed: Vec<Framed>,
    /// Bytes of a value that was cut off.
    pub partial_bytes: u64,
}
