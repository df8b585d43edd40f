//! The list of stages.

/// A stage between the socket of the upstream and that of a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reads the socket and decodes a chunk of the HTTP body.
    Read,
    /// Finds the end of a JSON value.
    Framing,
    /// Reads id and rules of a post.
    Classify,
    /// Updates the gap tracker and the metrics of the connection.
    Track,
    /// From the queue's sender to the sequencer: the first hand-over between threads.
    Queue,
    /// Looks up the post id, and builds the record.
    Dedup,
    /// Encodes the block of an append, with its checksum: a part of `Append`.
    Encode,
    /// Writes it: a part of `Append`.
    Write,
    /// Appends to the journal.
    Append,
    /// Encodes the event and adds it to the ring buffer.
    Publish,
    /// From the begin of the notification until the task of a session runs: the second hand-over.
    Wake,
    /// From there until the session's message is complete.
    Assemble,
    /// From there until the socket has accepted its last byte.
    Send,
}

impl Stage {
    /// All stages, in the order in which a post passes them.
    pub const ALL: [Self; 13] = [
        Self::Read,
        Self::Framing,
        Self::Classify,
        Self::Track,
        Self::Queue,
        Self::Dedup,
        Self::Encode,
        Self::Write,
        Self::Append,
        Self::Publish,
        Self::Wake,
        Self::Assemble,
        Self::Send,
    ];

    /// Returns the value of the label `stage`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Framing => "framing",
            Self::Classify => "classify",
            Self::Track => "track",
            Self::Queue => "queue",
            Self::Dedup => "dedup",
            Self::Encode => "encode",
            Self::Write => "write",
            Self::Append => "append",
            Self::Publish => "publish",
            Self::Wake => "wake",
            Self::Assemble => "assemble",
            Self::Send => "send",
        }
    }
}
