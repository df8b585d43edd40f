//! Whether the log of an account is complete for an interval.

use super::Account;
use crate::model::{Gap, GapCause, GapState, Span, Spans, UnixMillis};

/// A part of an interval that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The part.
    pub span: Span,
    /// Why.
    pub why: Why,
}

/// Why a part of an interval is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A gap that is not closed.
    Gap(Box<Gap>),
    /// It is older than what the log holds.
    Trimmed,
    /// It is so new that posts of it may still come.
    NotYet,
}

impl Why {
    /// The cause, where there is one.
    pub fn cause(&self) -> Option<GapCause> {
        match self {
            Self::Gap(gap) => Some(gap.cause),
            Self::Trimmed => Some(GapCause::Trimmed),
            Self::NotYet => None,
        }
    }
}

impl Account {
    /// What is missing of an interval, in order.
    pub fn missing(&self, asked: Span) -> Vec<Missing> {
        let held = self.gaps.complete_from().zip(self.gaps.complete_to());
        missing(asked, &self.gaps.gaps(), held.map(|(from, to)| Span::new(from, to)))
    }
}

fn missing(asked: Span, gaps: &[Gap], held: Option<Span>) -> Vec<Missing> {
    let mut found = Vec::new();
    let mut told = Spans::default();
    for gap in gaps.iter().filter(|gap| is_open(gap)) {
        let complete_to = gap.progress.unwrap_or(gap.window.from).max(gap.window.from);
        let span = Span::new(complete_to, gap.window.to.unwrap_or(UnixMillis(i64::MAX))).intersection(asked);
        if !span.is_empty() {
            told.insert(span);
            found.push(Missing { span, why: Why::Gap(Box::new(gap.clone())) });
        }
    }
    // An empty log holds nothing up to now, and everything is still to come.
    let held = held.unwrap_or(Span::new(asked.from, asked.from));
    let before = (Span::new(asked.from, held.from.min(asked.to)), Why::Trimmed);
    let after = (Span::new(held.to.max(asked.from), asked.to), Why::NotYet);
    for (span, why) in [before, after] {
        let mut rest: Spans = [span].into_iter().collect();
        rest.remove_all(&told);
        found.extend(rest.iter().map(|span| Missing { span, why: why.clone() }));
    }
    found.sort_by_key(|missing| missing.span);
    found
}

fn is_open(gap: &Gap) -> bool {
    match gap.state {
        GapState::Detected | GapState::Recovering | GapState::Unrecoverable => true,
        GapState::Backfilled | GapState::Recovered => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GapEvidence, GapId, Window};

    fn gap(id: u64, from: i64, to: Option<i64>, state: GapState) -> Gap {
        Gap {
            id: GapId(id),
            window: Window { from: UnixMillis(from), to: to.map(UnixMillis) },
            cause: GapCause::Stale,
            state,
            evidence: GapEvidence::None,
            progress: None,
            recovered: 0,
        }
    }

    fn span(from: i64, to: i64) -> Span {
        Span::new(UnixMillis(from), UnixMillis(to))
    }

    fn check(asked: Span, gaps: &[Gap], held: Option<Span>, expected: &[(i64, i64, &str)]) {
        let found = missing(asked, gaps, held);
        let told: Vec<_> = found
            .iter()
            .map(|missing| {
                let why = match &missing.why {
                    Why::Gap(gap) => gap.id.to_string(),
                    Why::Trimmed => "trimmed".into(),
                    Why::NotYet => "not yet".into(),
                };
                (missing.span.from.0, missing.span.to.0, why)
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(from, to, why)| (*from, *to, (*why).to_owned())).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_missing_is_told_once_with_its_reason() {
        let held = Some(span(100, 900));
        check(span(100, 900), &[], held, &[]);
        check(span(0, 1_000), &[], held, &[(0, 100, "trimmed"), (900, 1_000, "not yet")]);
        check(span(0, 50), &[], held, &[(0, 50, "trimmed")]);
        check(span(950, 1_000), &[], held, &[(950, 1_000, "not yet")]);
        let lost = gap(1, 50, Some(200), GapState::Unrecoverable);
        let closed = gap(2, 300, Some(400), GapState::Recovered);
        let mut half = gap(3, 500, Some(600), GapState::Recovering);
        half.progress = Some(UnixMillis(550));
        let open = gap(4, 850, None, GapState::Detected);
        let gaps = [lost, closed, half, open];
        let all = [(0, 50, "trimmed"), (50, 200, "g1"), (550, 600, "g3"), (850, 1_000, "g4")];
        check(span(0, 1_000), &gaps, held, &all);
        check(span(560, 570), &gaps, held, &[(560, 570, "g3")]);
        check(span(200, 550), &gaps, held, &[]);
    }

    #[test]
    fn a_log_that_holds_nothing_has_everything_still_to_come() {
        check(span(5, 9), &[], None, &[(5, 9, "not yet")]);
    }
}
