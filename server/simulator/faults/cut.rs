use serde::{Deserialize, Serialize};

use crate::simulator::counters::Counters;

/// How to cut connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutKind {
    /// Now: the zero-length chunk, then FIN: X's forced disconnect.
    CleanEnd,
    /// Now: RST, whatever was under way.
    Reset,
    /// Now: half of the message that is next, or of one that never was, then FIN without the zero-length chunk.
    MidMessage,
    /// In the next post: the first half of its JSON can be read, then FIN. The post is whole in the truth.
    MidPost,
    /// In the next post: all of it up to its closing brace, no delimiter, then FIN.
    AfterBrace,
    /// In the next post: half of the bytes that it is compressed to, then FIN. Without gzip as `mid_post`.
    MidGzip,
}

impl CutKind {
    /// True if it waits for a post to cut.
    pub(in crate::simulator) fn waits(self) -> bool {
        matches!(self, Self::MidPost | Self::AfterBrace | Self::MidGzip)
    }

    /// Counts streams that were cut like this.
    pub(in crate::simulator) fn count(self, counters: &mut Counters, streams: usize) {
        let counter = match self {
            Self::CleanEnd => &mut counters.cuts_clean_end,
            Self::Reset => &mut counters.cuts_reset,
            Self::MidMessage => &mut counters.cuts_mid_message,
            Self::MidPost => &mut counters.cuts_mid_post,
            Self::AfterBrace => &mut counters.cuts_after_brace,
            Self::MidGzip => &mut counters.cuts_mid_gzip,
        };
        *counter += streams as u64;
    }
}
