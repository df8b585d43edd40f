//! What the end of a request proves: pure (contract, section 6.4).

use super::planner::round_out_to_minutes;
use super::transcript::Transcript;
use crate::model::{GapEvidence, TimeRange, TimeRangeSet, UnixMillis};
use crate::upstream::message::RecoveryResult;

/// How a request ended.
#[derive(Clone, Debug)]
pub(super) struct AttemptEnd {
    /// What it asked for, in whole minutes.
    pub request: TimeRange,
    /// What arrived.
    pub transcript: Transcript,
    /// End of the minutes that the order of the posts proves.
    pub reached: UnixMillis,
    /// Posts that were new.
    pub new: u64,
    /// The body ended as it should, and no message was cut off.
    pub clean: bool,
    /// That so little of the interval arrived is plausible at the account's rate.
    pub plausible: bool,
    /// The request before it ended in the same way, and found so much of this interval.
    pub confirms: Option<u64>,
    /// How often a count of X may still be met with another request.
    pub counts_left: u32,
}

/// What it proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AttemptResult {
    /// All but this has arrived.
    Proven {
        /// What to ask for again.
        rest: TimeRangeSet,
        /// What that rests on.
        evidence: GapEvidence,
    },
    /// It may have been all: ask once more from here, after a wait.
    Confirm {
        /// The first minute that is not proven.
        from: UnixMillis,
    },
    /// It failed: ask again from here, after a wait.
    Again {
        /// The first minute that is not proven.
        from: UnixMillis,
        /// What is wrong with the answer.
        flaw: IncompleteReason,
    },
}

/// Why an answer does not prove its whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IncompleteReason {
    /// It broke off.
    Cut,
    /// X reports an error in it.
    Error,
    /// Messages that belong into no recovery.
    Foreign,
    /// Posts out of order or of another time.
    Disordered,
    /// Too few posts.
    Implausible,
    /// X claims to have sent more than what arrived.
    Count,
    /// X reports that it did not send everything, and does not name what.
    LeftOut,
}

impl IncompleteReason {
    /// For people.
    pub(super) fn describe(self, transcript: &Transcript) -> String {
        match self {
            Self::Cut => "answer ended early".to_owned(),
            Self::Error => format!("error reported by upstream: {}", transcript.error().unwrap_or_default()),
            Self::Foreign => {
                let messages = transcript.foreign();
                format!("answer without completion message has {messages} malformed or unknown messages")
            }
            Self::Disordered => "posts out of order or outside of the requested window".to_owned(),
            Self::Implausible => "answer without completion message lacks posts that were due".to_owned(),
            Self::Count => {
                let (count, arrived) = (transcript.count().unwrap_or_default(), transcript.arrived());
                format!("upstream reports {count} posts as sent, {arrived} arrived")
            }
            Self::LeftOut => INCOMPLETE.to_owned(),
        }
    }
}

/// X names minutes or a range that it did not send.
pub(super) const INCOMPLETE: &str = "X says that it could not send all of it";

/// Judges an end.
pub(super) fn verdict(ended: &AttemptEnd) -> AttemptResult {
    let again = |from, flaw| AttemptResult::Again { from, flaw };
    let (request, transcript) = (ended.request, &ended.transcript);
    if transcript.error().is_some() {
        return again(ended.reached, IncompleteReason::Error);
    }
    if let Some(word) = transcript.word() {
        return believe(ended, word);
    }
    if transcript.foreign() > 0 {
        return again(ended.reached, IncompleteReason::Foreign);
    }
    if !ended.clean {
        return again(ended.reached, IncompleteReason::Cut);
    }
    if transcript.is_disordered() {
        return again(request.from, IncompleteReason::Disordered);
    }
    if !ended.plausible {
        return again(ended.reached, IncompleteReason::Implausible);
    }
    match ended.confirms {
        // One that finds nothing where the one before it found posts confirms nothing.
        Some(before) if ended.new == 0 && (before == 0 || transcript.inside() > 0) => {
            let nothing = transcript.inside() == 0;
            complete_except(
                TimeRangeSet::default(),
                if nothing { GapEvidence::NothingDue } else { GapEvidence::CleanEof },
            )
        }
        _ => AttemptResult::Confirm { from: ended.reached },
    }
}

/// Judges an answer in which X says how far it came.
fn believe(ended: &AttemptEnd, word: &RecoveryResult) -> AttemptResult {
    let exceeds = ended.transcript.count().is_some_and(|count| count > ended.transcript.arrived());
    if exceeds && ended.counts_left > 0 {
        return AttemptResult::Again { from: ended.request.from, flaw: IncompleteReason::Count };
    }
    let evidence = if exceeds { GapEvidence::CountMismatch } else { GapEvidence::CompletionMessage };
    let all_but = |named: TimeRangeSet, otherwise| {
        let rest = named.within(ended.request);
        // Where X names nothing of the request, nothing is known to be complete.
        if rest.is_empty() {
            AttemptResult::Again { from: otherwise, flaw: IncompleteReason::LeftOut }
        } else {
            complete_except(rest, evidence)
        }
    };
    match word {
        RecoveryResult::Completed => complete_except(TimeRangeSet::default(), evidence),
        RecoveryResult::CompletedWithErrors { minutes_failed } => {
            let minutes = minutes_failed
                .iter()
                .map(|minute| round_out_to_minutes(TimeRange::new(*minute, UnixMillis(minute.0 + 1))));
            all_but(minutes.collect(), ended.request.from)
        }
        RecoveryResult::FailedToComplete { from: None, to: None } => {
            AttemptResult::Again { from: ended.reached, flaw: IncompleteReason::LeftOut }
        }
        RecoveryResult::FailedToComplete { from, to } => {
            let range = TimeRange::new(from.unwrap_or(ended.request.from), to.unwrap_or(ended.request.to));
            all_but([round_out_to_minutes(range)].into_iter().collect(), ended.reached)
        }
        // No word about the recovery: a transcript has none.
        RecoveryResult::Other => AttemptResult::Again { from: ended.reached, flaw: IncompleteReason::Foreign },
    }
}

fn complete_except(rest: TimeRangeSet, evidence: GapEvidence) -> AttemptResult {
    AttemptResult::Proven { rest, evidence }
}

#[cfg(test)]
mod tests;
