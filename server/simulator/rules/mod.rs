//! Rules: their syntax, what they match, and the requests that change them.
//!
//! Owns: PowerTrack's rule language as far as Powerstream lists its operators, the set of rules with X's limits, and the
//! envelopes of `/2/powerstream/rules`. Does not own: posts (`post`), how matched posts travel (`stream`).
//!
//! Invariants
//! - A value is there once; a rule that is removed and added again has a new id
//!   (`api`: `rule_value_is_unique_with_fresh_id`).
//! - One wrong rule fails its whole request (`api`: `one_wrong_rule_fails_whole_request`).
//! - 50 requests in 24 h, 100 rules per request, 1,000 rules, 2,048 characters, tags of 255 (`api`: `limits_are_xs`).

mod api;
mod attributes;
mod lexer;
mod matching;
mod parser;
mod rule_set;
mod text_tokens;

pub(super) use api::{Method, RequestContext, answer};
pub(super) use attributes::PostAttributes;
pub(super) use rule_set::{AddResult, RuleSet};
pub use rule_set::{RuleError, StoredRule};
