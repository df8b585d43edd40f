//! What the page shows, as JSON. Times are in milliseconds since 1970, durations in milliseconds.
//!
//! No post, no secret and no text of a rule is in it: the tests search it for canary words.

use serde::Serialize;

use super::process::ProcessState;
use crate::hub::status::upstream_timeline::UpstreamPhase;
use crate::model::{GapCause, GapEvidence, GapState, UnixMillis};

/// The state of the gateway at one time, as far as some viewers may see it.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// When it was computed.
    pub time: UnixMillis,
    /// Version of the gateway.
    pub version: &'static str,
    /// Why requests cannot be served; empty if they can.
    pub unready_reasons: Vec<String>,
    /// State of the process.
    pub process: ProcessState,
    /// Accounts that the viewers may see, by name.
    pub accounts: Vec<AccountSnapshot>,
}

/// An account.
#[derive(Clone, Debug, Serialize)]
pub struct AccountSnapshot {
    /// Its name.
    pub name: String,
    /// `None`: its log cannot be opened at present, and is retried.
    pub open: Option<OpenAccount>,
}

/// An account whose log is open.
#[derive(Clone, Debug, Serialize)]
pub struct OpenAccount {
    /// Its upstream.
    pub upstream: UpstreamSnapshot,
    /// Open gaps and those of the last 24 h, the newest first.
    pub gaps: Listed<GapSnapshot>,
    /// Number of open gaps.
    pub open_gaps: usize,
    /// Active recovery jobs.
    pub jobs: Listed<JobSnapshot>,
    /// Its log.
    pub journal: JournalSnapshot,
    /// Visible tags, those with most posts first.
    pub tags: Listed<TagSnapshot>,
    /// Open sessions, the one furthest behind first.
    pub sessions: Listed<SessionSnapshot>,
    /// Its rules; `None` without the right to read them.
    pub rules: Option<RulesSnapshot>,
    /// Messages that the accounting law does not find: 0 unless the gateway has a defect.
    pub unaccounted: i64,
    /// Messages that were read and are not in the log yet.
    pub in_flight: i64,
}

/// The first entries of a list.
#[derive(Clone, Debug, Serialize)]
pub struct Listed<T> {
    /// These entries.
    pub list: Vec<T>,
    /// Number of all entries.
    pub count: usize,
}

/// The upstream of an account.
#[derive(Clone, Debug, Serialize)]
pub struct UpstreamSnapshot {
    /// State of the connection.
    pub state: &'static str,
    /// When the last byte arrived.
    pub last_byte: Option<UnixMillis>,
    /// When the last post arrived.
    pub last_post: Option<UnixMillis>,
    /// Error that ended the last connection; empty if none ended.
    pub last_error: String,
    /// The last 24 h: begin and state of each span, the oldest first.
    pub timeline: Vec<(UnixMillis, PhaseName)>,
}

/// Name of a phase of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// No connection.
    Down,
    /// Connected, and nothing arrives.
    Silent,
    /// Connected, and missed posts are sent again.
    Backfill,
    /// Connected.
    Connected,
}

impl From<UpstreamPhase> for PhaseName {
    fn from(phase: UpstreamPhase) -> Self {
        match phase {
            UpstreamPhase::Down => Self::Down,
            UpstreamPhase::Silent => Self::Silent,
            UpstreamPhase::Backfill => Self::Backfill,
            UpstreamPhase::Connected => Self::Connected,
        }
    }
}

/// A gap.
#[derive(Clone, Debug, Serialize)]
pub struct GapSnapshot {
    /// Id.
    pub id: String,
    /// Begin.
    pub start: UnixMillis,
    /// End; `None` while it is open-ended.
    pub end: Option<UnixMillis>,
    /// Cause.
    pub cause: GapCause,
    /// State.
    pub state: GapState,
    /// True if the state does not change any more.
    pub is_closed: bool,
    /// Evidence of the state.
    pub evidence: GapEvidence,
    /// Recovered posts that the log did not have.
    pub recovered: u64,
}

/// An active recovery job.
#[derive(Clone, Debug, Serialize)]
pub struct JobSnapshot {
    /// Id.
    pub id: String,
    /// Begin of its interval.
    pub start: UnixMillis,
    /// End of its interval.
    pub end: UnixMillis,
    /// State.
    pub state: &'static str,
    /// True for a manual job.
    pub is_manual: bool,
    /// Time up to which its interval is complete.
    pub complete_until: Option<UnixMillis>,
    /// Requests made.
    pub attempts: u32,
    /// Posts received.
    pub received: u64,
    /// Posts among them that were new.
    pub recovered: u64,
    /// Time until the next request, if it waits for one.
    pub retry_after: Option<u64>,
    /// Error of the last request that failed.
    pub last_error: String,
}

/// The retained window of a log.
#[derive(Clone, Debug, Serialize)]
pub struct JournalSnapshot {
    /// Receive time of the oldest record; `None` if there is none.
    pub oldest: Option<UnixMillis>,
    /// Receive time of the newest record.
    pub newest: Option<UnixMillis>,
    /// Number of records.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// What bounds the window: `age`, `bytes` or `disk`.
    pub bound: &'static str,
    /// `journal.retention_age_max`.
    pub age_max: u64,
    /// `journal.retention_bytes_max`; 0 = none.
    pub bytes_max: u64,
}

/// The rules of an account.
#[derive(Clone, Debug, Serialize)]
pub struct RulesSnapshot {
    /// True if the gateway adds and deletes rules.
    pub is_managed: bool,
    /// True if X has what the sets want.
    pub is_converged: bool,
    /// When X last confirmed all rules; `None` if they were never read.
    pub as_of: Option<UnixMillis>,
    /// Why rules are not managed at present; empty if nothing is wrong.
    pub problem: String,
    /// Rules that are to be added.
    pub pending_adds: usize,
    /// Rules that are to be deleted.
    pub pending_deletes: usize,
    /// Ids that posts name and that are not known.
    pub unknown_ids: usize,
    /// Maximum requests in 24 hours.
    pub budget_limit: usize,
    /// Requests of the last 24 hours.
    pub budget_used: usize,
    /// Requests that are left for emergencies.
    pub budget_reserve: usize,
    /// Time until the next request, if one waits for the budget.
    pub next_request: Option<u64>,
    /// Visible rules: the ones in need of attention, then the ones with most matches.
    pub list: Listed<RuleSnapshot>,
}

/// A rule. Its text is not shown.
#[derive(Clone, Debug, Serialize)]
pub struct RuleSnapshot {
    /// Set; empty for none.
    pub set: String,
    /// Name in the set.
    pub name: String,
    /// Id at X; empty while it has none.
    pub id: String,
    /// Tag; empty for none.
    pub tag: String,
    /// State.
    pub state: &'static str,
    /// Posts of the last 24 hours that named it; `None` if they are not counted.
    pub matches_24h: Option<u64>,
    /// Time of the last post that named it.
    pub last_seen: Option<UnixMillis>,
    /// Words of X, if it rejected the rule.
    pub rejection: String,
}

/// A tag.
#[derive(Clone, Debug, Serialize)]
pub struct TagSnapshot {
    /// The tag.
    pub tag: String,
    /// Posts per second over the last minute.
    pub per_second: f64,
    /// Posts since the start.
    pub posts: u64,
    /// Whether an open session asks for it; `None` if that is not known.
    pub is_subscribed: Option<bool>,
}

/// An open session.
#[derive(Clone, Debug, Serialize)]
pub struct SessionSnapshot {
    /// Id.
    pub id: String,
    /// Principal; empty for anonymous callers.
    pub principal: String,
    /// Name that the consumer sent.
    pub consumer: String,
    /// Address of the client.
    pub peer: String,
    /// When it began.
    pub since: UnixMillis,
    /// True once it reads new records as they arrive.
    pub is_live: bool,
    /// Records behind the newest one.
    pub lag_records: u64,
    /// Time behind the newest record.
    pub lag: u64,
    /// Events delivered per second, over the last 10 s.
    pub events_per_second: f64,
    /// Bytes delivered per second, over the last 10 s.
    pub bytes_per_second: f64,
    /// Time for which the client has not accepted a further message.
    pub stalled_for: u64,
}
