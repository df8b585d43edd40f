use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::RequestStamp;
use super::planner::{RecoveryLimits, minute_of};
use crate::model::{Caller, GapEvidence, TimeRange, TimeRangeSet, UnixMillis};

/// Id of a recovery job, unique within the account; shown as `j7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "j{}", self.0)
    }
}

impl FromStr for JobId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let id = text.strip_prefix('j').and_then(|digits| digits.parse().ok()).map(Self).ok_or(())?;
        // One spelling per id: neither "j+7" nor "j07".
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

/// State of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for a free slot or for its next attempt.
    Waiting,
    /// A request is in progress.
    Running,
    /// Complete.
    Succeeded,
    /// Given up: its interval left the recovery window, or X refuses it.
    Failed,
    /// Ended by an operator, or because its interval is not missing any more.
    Cancelled,
}

impl JobState {
    /// Returns the name for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// True until it has ended.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Waiting | Self::Running)
    }
}

/// Result of the last request of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastAttempt {
    /// No response yet.
    #[default]
    None,
    /// X refused the request.
    Refused,
    /// X answered, and the response did not prove the whole request.
    Unproven,
}

impl LastAttempt {
    /// Returns the evidence for giving up an interval after this result.
    pub fn evidence(self) -> GapEvidence {
        match self {
            Self::None => GapEvidence::WindowPassed,
            Self::Refused => GapEvidence::Refused,
            Self::Unproven => GapEvidence::Unproven,
        }
    }
}

/// A request of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NextRequest {
    /// What X is asked for, in whole minutes.
    pub window: TimeRange,
    /// The part of it that is left; the rest of the window overlaps with other requests.
    pub piece: TimeRange,
}

/// What an end of a request that is proven does not prove, at most: half of the overlap with the next one, so that one of
/// the two proves it.
const UNCERTAIN_END_MAX: Duration = Duration::from_secs(30);

impl NextRequest {
    /// Returns the part of the piece that this request can prove. X's bounds are uncertain: where more is missing before
    /// or behind the window, the ends of it are proven by the requests that overlap with it.
    pub(super) fn claim(self, missing: &TimeRangeSet, limits: &RecoveryLimits) -> TimeRange {
        let Self { window, piece } = self;
        let uncertain = limits.overlap.min(limits.overlap_between()).min(UNCERTAIN_END_MAX);
        let (before, last) = (window.from.shifted(-1), window.to.shifted(-1));
        let from = if missing.contains(before) { window.from.plus(uncertain) } else { window.from };
        let to =
            if missing.contains(window.to) && missing.contains(last) { window.to.minus(uncertain) } else { window.to };
        piece.intersection(TimeRange::new(from, to))
    }
}

/// A recovery job: an interval to recover, and its progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Id of the job.
    pub id: JobId,
    /// The interval, in whole minutes.
    pub window: TimeRange,
    /// State of the job.
    pub state: JobState,
    /// Ranges still to be requested, in whole minutes.
    pub rest: TimeRangeSet,
    /// Demanded ranges that were delivered without a confirmation that they are complete.
    #[serde(rename = "brought")]
    pub delivered: TimeRangeSet,
    /// Stamp of the oldest request that delivered them.
    #[serde(default, rename = "brought_at")]
    pub delivered_at: RequestStamp,
    /// The next request checks whether the last one had delivered everything.
    pub confirming: bool,
    /// Number of posts that the last request found in the range of the next one.
    #[serde(default)]
    pub found: u64,
    /// Requests made to X, except those refused for too many connections.
    pub attempts: u32,
    /// Refusals since X last accepted a request.
    pub refusals: u32,
    /// Age of the window's end when X last refused it as a window.
    #[serde(default)]
    pub refused_age_ms: Option<u64>,
    /// Consecutive requests with fewer posts than X reported as sent.
    #[serde(default)]
    pub mismatches: u32,
    /// Result of the last request.
    #[serde(default)]
    pub last_attempt: LastAttempt,
    /// Until when attempts without new posts are accounted for; see [`Pace`].
    ///
    /// [`Pace`]: super::pace::Pace
    #[serde(default)]
    pub paced_until: UnixMillis,
    /// Posts received.
    pub received: u64,
    /// Posts among them that were new.
    pub recovered: u64,
    /// Error of the last request that failed.
    pub last_error: String,
    /// When it was created.
    pub created: UnixMillis,
    /// When it ended.
    pub ended: Option<UnixMillis>,
    /// True for a manual job.
    pub manual: bool,
    /// Caller that created a manual job.
    #[serde(default)]
    pub caller: Option<Caller>,
}

impl Job {
    /// Creates a waiting job.
    pub(super) fn new(id: JobId, window: TimeRange, created: UnixMillis, manual: bool) -> Self {
        Self {
            id,
            window,
            state: JobState::Waiting,
            rest: [window].into_iter().collect(),
            delivered: TimeRangeSet::default(),
            delivered_at: RequestStamp::default(),
            confirming: false,
            found: 0,
            attempts: 0,
            refusals: 0,
            refused_age_ms: None,
            mismatches: 0,
            last_attempt: LastAttempt::None,
            paced_until: UnixMillis(i64::MIN),
            received: 0,
            recovered: 0,
            last_error: String::new(),
            created,
            ended: None,
            manual,
            caller: None,
        }
    }

    /// Returns the time up to which the interval is complete; `None` before the first complete minute.
    pub fn progress(&self) -> Option<UnixMillis> {
        let reached = self.rest.first().map_or(self.window.to, |rest| rest.from);
        (reached > self.window.from).then_some(reached)
    }

    /// Returns the next request; empty if nothing is left. It overlaps with what the others of the job requested: X's
    /// bounds of two requests may differ by the uncertainty of the clock.
    pub(super) fn next_request(&self, now: UnixMillis, limits: &RecoveryLimits) -> NextRequest {
        let Some(rest) = self.rest.first() else {
            let nothing = TimeRange::new(self.window.to, self.window.to);
            return NextRequest { window: nothing, piece: nothing };
        };
        let overlap = limits.overlap_between();
        let earliest = self.window.from.max(minute_of(limits.earliest_recoverable(now)));
        let from = rest.from.minus(overlap).max(earliest).min(rest.from);
        let last = rest.to.plus(overlap).min(self.window.to).max(rest.to);
        let window = TimeRange::new(from, from.plus(limits.request_max()).min(last));
        NextRequest { window, piece: rest.intersection(window) }
    }

    /// Returns the ranges claimed by this job while it is active.
    pub(super) fn claimed(&self) -> TimeRangeSet {
        let mut held = self.rest.clone();
        held.insert_all(&self.delivered);
        held
    }

    /// True while it waits because X refuses its requests.
    pub fn is_refused(&self) -> bool {
        self.state.is_active() && self.refusals > 0
    }

    /// Records the progress of a request: everything before `reached` is proven, nothing after it. `asked` is the part
    /// of it that was demanded when it was made, at `stamp`. A later call may withdraw progress recorded by an earlier
    /// one.
    pub(super) fn reach(
        &mut self,
        request: NextRequest,
        asked: &TimeRangeSet,
        stamp: RequestStamp,
        reached: UnixMillis,
    ) {
        let NextRequest { window, piece } = request;
        let (came, again) = (TimeRange::new(window.from, reached), TimeRange::new(reached.max(piece.from), piece.to));
        self.rest.remove(came);
        self.rest.insert(again);
        self.delivered.remove(again);
        let delivered = asked.within(came);
        if !delivered.is_empty() {
            self.delivered_at = if self.delivered.is_empty() { stamp } else { self.delivered_at.older(stamp) };
            self.delivered.insert_all(&delivered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_has_one_spelling() {
        assert_eq!(JobId(7).to_string().parse(), Ok(JobId(7)));
        for text in ["", "j", "7", "g7", "j07", "j+7", "j-1", "j 7", "j18446744073709551616"] {
            assert_eq!(text.parse::<JobId>(), Err(()), "{text:?}");
        }
    }
}
