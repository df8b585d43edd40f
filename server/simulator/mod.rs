//! Simulator: an independent test double of X, with its stream, rules and faults, for tests, `demo` and `simulate`.
//!
//! Owns: everything on the other side of the wire, and the ground truth of what was sent. Does not own: anything of the
//! gateway. It shares no parser with it: it reads with `serde_json::Value` and its own text scanner.
//!
//! Path of a post: `producer` gets one from `post`, `rules` match it, `state` adds it to `stream::post_log`, and every
//! open connection (`stream::live`) pulls it from there through its encoder to the socket (`server`, `socket`). Posts
//! without a matching rule are not sent, as with X. The log is history and ground truth in one, bounded in entries and
//! bytes.
//!
//! Faults are injected on demand (`SimulatorHandle`, or `POST /simulator/…` for other processes) or by a timeline
//! (`script`): cuts, silence, malformed input, errors, failing jobs, wrong dates (types in `faults`). Each is counted
//! when it fires, so that a test can verify it. Scopes: live connections, recovery jobs, a datacenter or one
//! connection.
//!
//! `rules_endpoint` adds the faults of HTTP to the requests for rules, whose variants are settings (`rules::RulesApiConfig`), and
//! records each request with its number in 24 hours (`SimulatorHandle::rule_requests`).
//!
//! `SimulatorHandle::publish_at` and `history` fill the past without waiting, and windows use an index of time, so that
//! backfill and recovery return what X had while no client was connected.
//!
//! `SimulatorHandle::writes` lists each write of a post to a connection, for tests that check the wire.
//!
//! Invariants
//! - The truth holds every post that was sent, with the bytes it was sent with, in the order it was sent first
//!   (`tests::wire`: `what_client_reads_is_truth`), a post that was cut included
//!   (`tests::faults`: `pending_cut_hits_next_post_kept_in_truth`).
//! - Nothing queues without bound: a connection is a cursor, and one that falls too far behind is dropped
//!   (`tests::history`: `slow_reader_is_dropped_without_backfill`).
//! - The same seed draws the same posts, and the same bytes (`tests::faults`: `same_seed_gives_same_bytes`).

mod config;
mod control_api;
mod counters;
mod faults;
mod handle;
mod http_handler;
mod post;
mod producer;
mod publish;
mod response;
mod rule_file;
mod rules;
mod rules_endpoint;
mod script;
mod sent_post;
mod server;
mod socket;
mod start;
mod state;
mod stream;
mod writes;

#[cfg(test)]
mod tests;

pub use config::{
    AfterOverflow, AtEnd, Backfill, Chunking, Completion, Config, ConnectionLimitPolicy, Framing, Gzip, InitialRule,
    MatchingRules,
};
pub use counters::{Counters, RequestLine};
pub use faults::{
    BogusResponse, CutKind, DateHeader, ErrorResponse, Flow, JobFault, Repeat, RuleFault, RuleMethod,
    RuleRequestFilter, Scope, StreamError,
};
pub use handle::{ConnectionCounts, SimulatorHandle};
pub use publish::PublishError;
pub use rule_file::{RuleFileFaults, parse_rules};
pub use rules::{
    DeletedForm, DuplicateAnswer, InvalidRules, RateLimitHeaders, RuleEnvelope, RuleError, RuleErrorEnvelope,
    RuleIdForm, RuleRequestRecord, RulesApiConfig, StoredRule,
};
pub use script::{Action, RuleChange, RuleOutage, Script, ScriptError, ScriptStep};
pub use sent_post::SentPost;
pub use start::{Simulator, SimulatorStartError};
pub use writes::{ConnectionRecord, PostWrite, WrittenRule};
