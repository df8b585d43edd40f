use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::RequestStamp;
use crate::model::{GapEvidence, TimeRange, TimeRangeSet, UnixMillis};

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
        // One spelling for each: neither "j+7" nor "j07".
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its turn, for a free slot, or for its next attempt.
    Waiting,
    /// Reads from X.
    Running,
    /// Complete.
    Succeeded,
    /// Given up: its interval left what X recovers, or X refuses it.
    Failed,
    /// Ended by hand, or because nothing misses its interval any more.
    Cancelled,
}

impl JobState {
    /// For metrics and logs.
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

/// What the last request of a job ended with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastAttempt {
    /// X has answered none yet.
    #[default]
    None,
    /// X refused it.
    Refused,
    /// X answered it, and the answer did not prove all.
    Unproven,
}

impl LastAttempt {
    /// Why an interval is given up whose last request ended so.
    pub fn evidence(self) -> GapEvidence {
        match self {
            Self::None => GapEvidence::WindowPassed,
            Self::Refused => GapEvidence::Refused,
            Self::Unproven => GapEvidence::Unproven,
        }
    }
}

/// An interval to be brought, and how far that has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The interval, in whole minutes.
    pub window: TimeRange,
    /// How far it has come.
    pub state: JobState,
    /// What it still has to bring, in whole minutes.
    pub rest: TimeRangeSet,
    /// What it has brought of the demand, without a word yet that this is all.
    pub brought: TimeRangeSet,
    /// The stamp of the oldest request that brought it.
    #[serde(default)]
    pub brought_at: RequestStamp,
    /// The next request is to see whether the last one had brought all.
    pub confirming: bool,
    /// Posts that the last one found of what the next one asks for again.
    #[serde(default)]
    pub found: u64,
    /// Requests made to X, but for those that X had no room for.
    pub attempts: u32,
    /// Refusals since X last took a request.
    pub refusals: u32,
    /// How long ago its window had ended when X last refused it as a window.
    #[serde(default)]
    pub refused_age_ms: Option<u64>,
    /// Requests in a row whose answer had fewer posts than X claimed to have sent.
    #[serde(default)]
    pub mismatches: u32,
    /// What the last request ended with.
    #[serde(default)]
    pub last_attempt: LastAttempt,
    /// Until when the attempts that bring nothing new are paid for; see [`Pace`].
    ///
    /// [`Pace`]: super::pace::Pace
    #[serde(default)]
    pub paced_until: UnixMillis,
    /// Posts received.
    pub received: u64,
    /// Posts among them that were new.
    pub recovered: u64,
    /// What the last request that failed ended with.
    pub last_error: String,
    /// When it was made.
    pub created: UnixMillis,
    /// When it ended.
    pub ended: Option<UnixMillis>,
    /// Made by hand.
    pub manual: bool,
}

impl Job {
    /// A job that waits.
    pub(super) fn new(id: JobId, window: TimeRange, created: UnixMillis, manual: bool) -> Self {
        Self {
            id,
            window,
            state: JobState::Waiting,
            rest: [window].into_iter().collect(),
            brought: TimeRangeSet::default(),
            brought_at: RequestStamp::default(),
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
        }
    }

    /// Up to where the interval is complete; `None` before the first minute is.
    pub fn progress(&self) -> Option<UnixMillis> {
        let reached = self.rest.first().map_or(self.window.to, |rest| rest.from);
        (reached > self.window.from).then_some(reached)
    }

    /// What to ask for next; empty if nothing is left.
    pub(super) fn request(&self, longest: Duration) -> TimeRange {
        let rest = self.rest.first().unwrap_or(TimeRange::new(self.window.to, self.window.to));
        TimeRange::new(rest.from, rest.from.plus(longest).min(rest.to))
    }

    /// What nobody else has to bring while it is active.
    pub(super) fn claimed(&self) -> TimeRangeSet {
        let mut held = self.rest.clone();
        held.insert_all(&self.brought);
        held
    }

    /// True while it waits because X refuses its requests.
    pub fn is_refused(&self) -> bool {
        self.state.is_active() && self.refusals > 0
    }

    /// Records how far a request is proven: all of it before `reached`, and nothing after it. `asked` is what was demanded
    /// of it when it was made, at `stamp`. A later call may withdraw what an earlier one recorded.
    pub(super) fn reach(&mut self, request: TimeRange, asked: &TimeRangeSet, stamp: RequestStamp, reached: UnixMillis) {
        let (came, again) = (TimeRange::new(request.from, reached), TimeRange::new(reached, request.to));
        self.rest.remove(came);
        self.rest.insert(again);
        self.brought.remove(again);
        let brought = asked.within(came);
        if !brought.is_empty() {
            self.brought_at = if self.brought.is_empty() { stamp } else { self.brought_at.older(stamp) };
            self.brought.insert_all(&brought);
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
