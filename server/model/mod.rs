//! The words that every other room speaks: accounts, posts, rules and their tags, records and their positions, times.
//!
//! Pure data: no I/O, no clock, no randomness, no async. The wire formats (protobuf, JSON of X, journal blocks, tokens)
//! are elsewhere; this room does not know them.
//!
//! Invariants: a sequence is never reused within a term (I7); a post's identity is its id, never its bytes.

mod account;
mod key;
mod position;
mod post;
mod record;
mod time;

pub use account::{AccountName, AccountNameError};
pub use key::{Key, KeySet, Keys};
pub use position::{Epoch, Position, Sequence, Term, TermStart};
pub use post::{Origin, Post, PostId, Rule, rules_union, tags};
pub use record::{Body, Gap, GapCause, GapEvidence, GapId, GapState, Record, Skip, SkipReason};
pub use time::{UnixMillis, Window};
