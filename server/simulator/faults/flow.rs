use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What comes over streams that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Flow {
    /// What is to come: posts and heartbeats.
    #[default]
    Open,
    /// Nothing, not even heartbeats; the connection stays open.
    Stalled,
    /// A message without an end, byte by byte; no heartbeats.
    Trickle {
        /// A byte this often.
        #[serde(with = "humantime_serde")]
        every: Duration,
    },
    /// Malformed lines; no heartbeats.
    Garbage {
        /// A line this often.
        #[serde(with = "humantime_serde")]
        every: Duration,
    },
}

/// A 200 that is no stream of posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BogusResponse {
    /// One error object, then a clean end.
    Error(super::StreamError),
    /// A web page, then a clean end.
    Html,
    /// A clean end at once.
    Empty,
    /// Nothing, and no end.
    Silence,
    /// A message without an end, byte by byte.
    Trickle {
        /// A byte this often.
        #[serde(with = "humantime_serde")]
        every: Duration,
    },
    /// Malformed lines without end.
    Garbage {
        /// A line this often.
        #[serde(with = "humantime_serde")]
        every: Duration,
    },
}
