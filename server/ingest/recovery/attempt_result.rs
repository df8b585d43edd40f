//! What the end of a request proves (contract, section 6.4). Pure.

use super::planner::round_out_to_minutes;
use super::transcript::Transcript;
use crate::model::{GapEvidence, TimeRange, TimeRangeSet, UnixMillis};
use crate::upstream::message::RecoveryResult;

/// End of a request.
#[derive(Clone, Debug)]
pub(super) struct AttemptEnd {
    /// The requested interval, in whole minutes.
    pub request: TimeRange,
    /// Received messages.
    pub transcript: Transcript,
    /// End of the minutes that the order of the posts proves.
    pub reached: UnixMillis,
    /// Posts that were new.
    pub new: u64,
    /// The body ended as HTTP requires, and no message was truncated.
    pub clean: bool,
    /// The number of received posts is plausible at the account's rate.
    pub plausible: bool,
    /// The previous request ended the same way, with this many posts of this interval.
    pub confirms: Option<u64>,
    /// How often a count mismatch may still be answered with another request.
    pub counts_left: u32,
}

/// What a request proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AttemptResult {
    /// Everything except `rest` has arrived.
    Proven {
        /// Ranges to request again.
        rest: TimeRangeSet,
        /// Evidence.
        evidence: GapEvidence,
    },
    /// Possibly complete: repeat the request from here after a backoff.
    Confirm {
        /// The first minute that is not proven.
        from: UnixMillis,
    },
    /// Failed: repeat the request from here after a backoff.
    Again {
        /// The first minute that is not proven.
        from: UnixMillis,
        /// Why the response proves nothing.
        flaw: IncompleteReason,
    },
}

/// Why a response does not prove its whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IncompleteReason {
    /// It was interrupted.
    Cut,
    /// X reported an error in it.
    Error,
    /// It contains messages that do not belong to a recovery.
    Foreign,
    /// It has posts out of order or of another time.
    Disordered,
    /// It has too few posts.
    Implausible,
    /// X reports more sent posts than arrived.
    Count,
    /// X reports that it did not send everything, without naming the missing part.
    LeftOut,
}

impl IncompleteReason {
    /// Returns a description for the operator.
    pub(super) fn describe(self, transcript: &Transcript) -> String {
        match self {
            Self::Cut => "answer ended early".to_owned(),
            Self::Error => format!("error reported by upstream: {}", transcript.error().unwrap_or_default()),
            Self::Foreign => {
                let messages = transcript.foreign();
                format!("answer without completion message has {messages} malformed or unknown messages")
            }
            Self::Disordered => "posts out of order or outside of the requested window".to_owned(),
            Self::Implausible => "answer without completion message is missing expected posts".to_owned(),
            Self::Count => {
                let (count, arrived) = (transcript.count().unwrap_or_default(), transcript.arrived());
                format!("upstream reports {count} posts as sent, {arrived} arrived")
            }
            Self::LeftOut => INCOMPLETE.to_owned(),
        }
    }
}

/// Error of a job if X names minutes or a range that it did not send.
pub(super) const INCOMPLETE: &str = "upstream reports that it did not send everything";

/// Evaluates the end of a request.
pub(super) fn evaluate(ended: &AttemptEnd) -> AttemptResult {
    let again = |from, flaw| AttemptResult::Again { from, flaw };
    let (request, transcript) = (ended.request, &ended.transcript);
    if transcript.error().is_some() {
        return again(ended.reached, IncompleteReason::Error);
    }
    if let Some(word) = transcript.word() {
        return evaluate_completion(ended, word);
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
        // A request without posts does not confirm one that had posts.
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

/// Evaluates a response that contains a completion message.
fn evaluate_completion(ended: &AttemptEnd, word: &RecoveryResult) -> AttemptResult {
    let exceeds = ended.transcript.count().is_some_and(|count| count > ended.transcript.arrived());
    if exceeds && ended.counts_left > 0 {
        return AttemptResult::Again { from: ended.request.from, flaw: IncompleteReason::Count };
    }
    let evidence = if exceeds { GapEvidence::CountMismatch } else { GapEvidence::CompletionMessage };
    let all_but = |named: TimeRangeSet, otherwise| {
        let rest = named.within(ended.request);
        // If X names no part of the request, no part is known to be complete.
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
        // Not a completion message: a transcript stores none of these.
        RecoveryResult::Other => AttemptResult::Again { from: ended.reached, flaw: IncompleteReason::Foreign },
    }
}

fn complete_except(rest: TimeRangeSet, evidence: GapEvidence) -> AttemptResult {
    AttemptResult::Proven { rest, evidence }
}

#[cfg(test)]
mod tests;
