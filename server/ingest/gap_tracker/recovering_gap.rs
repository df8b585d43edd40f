//! A gap left to recovery.

use serde::{Deserialize, Serialize};

use crate::model::{Gap, GapEvidence, GapState, TimeRange, TimeRangeSet};

/// A gap left to recovery.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RecoveringGap {
    /// The gap as announced; it has an end.
    pub(super) gap: Gap,
    /// Ranges that are not recovered yet.
    pub(super) missing: TimeRangeSet,
    /// Posts per second of the account before the gap.
    #[serde(default)]
    pub(super) rate: f64,
    /// Stamp of its demand: only later requests prove it.
    #[serde(default)]
    pub(super) demanded: u64,
}

/// Part of a divided gap.
pub(super) struct GapPart {
    pub(super) span: TimeRange,
    pub(super) lost: bool,
}

impl RecoveringGap {
    pub(super) fn new(gap: Gap, span: TimeRange, rate: f64, demanded: u64) -> Self {
        Self { gap, missing: [span].into_iter().collect(), rate, demanded }
    }

    pub(super) fn span(&self) -> TimeRange {
        TimeRange::new(self.gap.window.from, self.gap.window.to.expect("a gap left to recovery has an end"))
    }

    /// Marks a span as complete, proven by requests with this stamp or later. Returns true if that changes anything: a
    /// gap demanded after such a request is not proven by it.
    pub(super) fn mark_recovered(&mut self, span: TimeRange, evidence: GapEvidence, stamp: u64) -> bool {
        if self.demanded > stamp || self.missing.within(span).is_empty() {
            return false;
        }
        self.missing.remove(span);
        self.gap.evidence = weaker(self.gap.evidence, evidence);
        match self.missing.first() {
            Some(first) => {
                self.gap.progress = Some(first.from).filter(|from| *from > self.gap.window.from);
            }
            None => {
                self.gap.progress = self.gap.window.to;
                self.gap.state = GapState::Recovered;
            }
        }
        true
    }

    /// Divides the gap into unrecoverable and other parts, in order.
    pub(super) fn split_by(&self, lost: &TimeRangeSet) -> Vec<GapPart> {
        let mut pieces = Vec::new();
        let mut at = self.span().from;
        for span in lost.iter() {
            pieces.push(GapPart { span: TimeRange::new(at, span.from), lost: false });
            pieces.push(GapPart { span, lost: true });
            at = span.to;
        }
        pieces.push(GapPart { span: TimeRange::new(at, self.span().to), lost: false });
        pieces.retain(|piece| !piece.span.is_empty());
        pieces
    }
}

/// Returns the weaker evidence. From strong to weak: completion message, clean end, order of posts, nothing due, count
/// mismatch.
fn weaker(one: GapEvidence, other: GapEvidence) -> GapEvidence {
    let weakness = |evidence| match evidence {
        GapEvidence::CountMismatch => 4,
        GapEvidence::NothingDue => 3,
        GapEvidence::PostOrder => 2,
        GapEvidence::CleanEof => 1,
        _ => 0,
    };
    if weakness(one) > weakness(other) { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GapCause, GapId, TimeInterval, UnixMillis};

    fn span(from: i64, to: i64) -> TimeRange {
        TimeRange::new(UnixMillis(from), UnixMillis(to))
    }

    fn healing(demanded: u64) -> RecoveringGap {
        let window = TimeInterval { from: UnixMillis(0), to: Some(UnixMillis(900)) };
        let (cause, state, evidence) = (GapCause::Disconnected, GapState::Recovering, GapEvidence::None);
        let gap = Gap { id: GapId(1), window, cause, state, evidence, progress: None, recovered: 0 };
        RecoveringGap::new(gap, span(0, 900), 0.0, demanded)
    }

    #[test]
    fn gap_is_proven_only_by_later_requests() {
        let mut gap = healing(7);
        assert!(!gap.mark_recovered(span(0, 900), GapEvidence::CompletionMessage, 6));
        assert_eq!((gap.missing.first(), gap.gap.state), (Some(span(0, 900)), GapState::Recovering));
        assert!(gap.mark_recovered(span(0, 900), GapEvidence::CompletionMessage, 7));
        assert_eq!((gap.missing.is_empty(), gap.gap.state), (true, GapState::Recovered));
    }

    #[test]
    fn evidence_of_gap_is_its_weakest() {
        let of = |parts: &[GapEvidence]| {
            let mut gap = healing(0);
            for (number, evidence) in (0..).zip(parts) {
                gap.mark_recovered(span(number * 100, (number + 1) * 100), *evidence, 1);
            }
            gap.gap.evidence
        };
        let [message, quiet, order, due, count] = [
            GapEvidence::CompletionMessage,
            GapEvidence::CleanEof,
            GapEvidence::PostOrder,
            GapEvidence::NothingDue,
            GapEvidence::CountMismatch,
        ];
        assert_eq!((of(&[message, message]), of(&[quiet, message])), (message, quiet));
        assert_eq!((of(&[due, quiet, order]), of(&[message, count, due])), (due, count));
        assert_eq!(of(&[quiet, order, message]), order);
    }
}
