//! The state from which a new leader continues, as a message of the shared log.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{Epoch, Sequence, Term};

/// Version of the format.
const VERSION: u32 = 1;

/// State of the leader after the messages before it: what it writes to `gaps.json` and `jobs.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCheckpoint {
    /// Log of the account.
    pub epoch: Epoch,
    /// Its leader.
    pub term: Term,
    /// Next record of the log.
    pub next_record: Sequence,
    /// Next record of the side log.
    pub next_side: Sequence,
    /// Term of the newest record of the side log.
    pub side_term: Option<Term>,
    /// Content of `gaps.json`.
    pub gaps: Bytes,
    /// Content of `jobs.json`.
    pub jobs: Bytes,
}

/// Numbers are in hexadecimal texts, which every reader of JSON keeps exact.
#[derive(Serialize, Deserialize)]
struct CheckpointMessage {
    version: u32,
    epoch: String,
    term: String,
    next_record: Sequence,
    next_side: Sequence,
    side_term: Option<String>,
    gaps: String,
    jobs: String,
}

impl SharedCheckpoint {
    /// Returns the bytes of the message. Files that are not text are left out: they are restored from the log.
    pub fn encode(&self) -> Bytes {
        let text = |bytes: &Bytes| std::str::from_utf8(bytes).unwrap_or_default().to_owned();
        let message = CheckpointMessage {
            version: VERSION,
            epoch: self.epoch.to_string(),
            term: self.term.to_string(),
            next_record: self.next_record,
            next_side: self.next_side,
            side_term: self.side_term.map(|term| term.to_string()),
            gaps: text(&self.gaps),
            jobs: text(&self.jobs),
        };
        serde_json::to_vec(&message).expect("its fields are texts and numbers").into()
    }

    /// Reads a message; `None` if it is of another form.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let message: CheckpointMessage = serde_json::from_slice(bytes).ok()?;
        if message.version != VERSION {
            return None;
        }
        let term = |text: &str| u64::from_str_radix(text, 16).ok().map(Term);
        let side_term = match &message.side_term {
            Some(text) => Some(term(text)?),
            None => None,
        };
        Some(Self {
            epoch: Epoch(u128::from_str_radix(&message.epoch, 16).ok()?),
            term: term(&message.term)?,
            side_term,
            next_record: message.next_record,
            next_side: message.next_side,
            gaps: message.gaps.into(),
            jobs: message.jobs.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoint_is_read_as_written() {
        let checkpoint = SharedCheckpoint {
            epoch: Epoch(u128::MAX),
            term: Term(u64::MAX),
            next_record: 7,
            next_side: 1,
            side_term: Some(Term(3)),
            gaps: Bytes::from_static(b"{\"version\":2}"),
            jobs: Bytes::new(),
        };
        let bytes = checkpoint.encode();
        assert_eq!(SharedCheckpoint::decode(&bytes), Some(checkpoint));
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        for other in ["", "{}", &text.replace("\"version\":1", "\"version\":2")] {
            assert_eq!(SharedCheckpoint::decode(other.as_bytes()), None, "{other}");
        }
    }
}
