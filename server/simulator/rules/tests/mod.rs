//! The rule language and the rules endpoint without HTTP.
//!
//! `vectors`: what a rule is and what it matches, by vectors: those of the repository, with texts written for them, and those
//! of any file that `RULE_VECTORS` names. The gateway's own checker of rules is not involved.
//!
//! `api`: requests, limits, faults and variants of answers.
//!
//! Owns nothing. A vector is a JSON object in a line: a rule, and a post that it matches or not, or the code and the position
//! of the fault for which it is refused.

mod api;
mod vectors;
