//! Requests about the rules of an account, their answers, and the ids in them.
//!
//! Owns: URL, method and body of each request, and every form of answer that is known, from X and from its predecessor.
//! Does not own: which requests are made, and what an answer means for a plan (`rules`).
//!
//! # Invariants
//! - An id is the digits that X sent; a number that needed rounding is no id: `id::tests`.
//! - The bearer is removed from every text that is shown: `answer::tests`.

mod answer;
mod failure;
mod id;
mod request;
mod transport;

pub use answer::{RefusalKind, RuleAnswer, RuleDocument, RuleRefusal, XRule};
pub use failure::RuleFailure;
pub use id::{RuleId, RuleIdError};
pub use request::{RuleCommand, RuleKey, RuleRequest};
pub use transport::RuleTransport;
