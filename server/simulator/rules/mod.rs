//! Rules: their syntax, what they match, and the requests that change them.
//!
//! Owns: PowerTrack's rule language as far as Powerstream lists its operators, the set of rules with X's limits, and the
//! envelopes of `/2/powerstream/rules`. Does not own: posts (`post`), how matched posts travel (`stream`).
//!
//! Path of a rule: `lexer` splits it into tokens, with `operator` for names and values, `parser` builds the tree, and
//! `matching` evaluates it on the `attributes` of a post. Texts and values are compared in one normal form (`characters`).
//! Readings that X's pages leave open: phrases are literal, ideographs and kana are tokens of their own, `contains:` and the
//! type of media do not look into the quoted post, operators that Powerstream does not list are refused.
//!
//! Invariants
//! - What a rule is and what it matches is that of the vectors in `tests/data/simulator_rules.jsonl`, and of any file that
//!   `RULE_VECTORS` names (`tests::vectors`).
//! - No rule panics, and none takes more than linear time (`parser`: `random_rules_do_not_panic`).
//! - A value is there once; a rule that is removed and added again has a new id
//!   (`tests::api`: `rule_value_is_unique_with_fresh_id`).
//! - One wrong rule fails its whole request (`tests::api`: `one_wrong_rule_fails_whole_request`), unless a setting of
//!   `RulesApiConfig` differs.
//! - 50 requests in 24 h, 100 rules per request, 1,000 rules, 2,048 UTF-16 units, tags of 255 (`tests::api`: `limits_are_xs`).

mod api;
mod api_config;
mod area;
mod attributes;
mod characters;
mod envelope;
mod languages;
mod lexer;
mod matching;
mod operator;
mod parser;
mod request_log;
mod rule_set;
mod syntax_error;
#[cfg(test)]
mod tests;
mod text_tokens;

pub(super) use api::{RequestContext, answer, named_rules};
pub use api_config::{
    DeletedForm, DuplicateAnswer, InvalidRules, RateLimitHeaders, RuleEnvelope, RuleErrorEnvelope, RuleIdForm,
    RulesApiConfig,
};
pub(super) use attributes::PostAttributes;
pub(super) use request_log::RuleRequestLog;
pub use request_log::RuleRequestRecord;
pub(super) use rule_set::{AddResult, NewRule, RuleSet};
pub use rule_set::{RuleError, StoredRule};
