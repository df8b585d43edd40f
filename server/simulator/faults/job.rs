use serde::{Deserialize, Serialize};

use super::CutKind;

/// How a recovery job goes wrong. Minutes are those of its window, counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum JobFault {
    /// It dies in this minute, after half of its posts (after all, if the window has no such minute), without a message.
    Dies {
        /// The minute.
        minute: u32,
        /// How it dies.
        how: CutKind,
    },
    /// These minutes are left out, and the message at the end names them.
    MinutesFailed(Vec<u32>),
    /// It stops before this minute, and the message names what was not processed.
    Unprocessed {
        /// The first minute that is not sent.
        minute: u32,
    },
    /// All is sent, and no message comes.
    Silent,
}
