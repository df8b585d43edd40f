//! What the end of a request proves, and whether it is the job's fault: pure (contract, section 6).

use super::planner::{MINUTE, outward};
use crate::model::{GapEvidence, Span, Spans, UnixMillis};
use crate::upstream::EndCause;
use crate::upstream::message::Info;
use crate::xapi::Kind;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// What it asked for, in whole minutes.
    pub request: Span,
    /// It was made to see whether the one before it had brought all.
    pub confirming: bool,
    /// What X said about the recovery, if it did.
    pub info: Option<Info>,
    /// The minute of the newest post that came.
    pub newest: Option<UnixMillis>,
    /// Posts that were new.
    pub new: u64,
    /// The body ended as it should.
    pub clean: bool,
}

/// What it proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All but this has come.
    Proven {
        /// What to ask for again.
        rest: Spans,
        /// What that rests on.
        evidence: GapEvidence,
    },
    /// It may have been all: ask once more from here.
    Confirm {
        /// The minute of the last post.
        from: UnixMillis,
    },
    /// It was cut short: go on from here.
    Again {
        /// The first minute that may not be complete.
        from: UnixMillis,
    },
}

/// Judges an end.
pub(super) fn verdict(ended: &Ended) -> Verdict {
    match &ended.info {
        Some(Info::Completed) => proven(Spans::default(), GapEvidence::CompletionMessage),
        Some(Info::CompletedWithErrors { minutes_failed }) => {
            let minutes = minutes_failed.iter().map(|minute| outward(Span::new(*minute, UnixMillis(minute.0 + 1))));
            all_but(ended, minutes.collect(), ended.request.from)
        }
        Some(Info::FailedToComplete { from: None, to: None }) => Verdict::Again { from: ended.resume_at() },
        Some(Info::FailedToComplete { from, to }) => {
            let range = Span::new(from.unwrap_or(ended.request.from), to.unwrap_or(ended.request.to));
            all_but(ended, [outward(range)].into_iter().collect(), ended.resume_at())
        }
        Some(Info::Other) | None if !ended.clean => Verdict::Again { from: ended.resume_at() },
        Some(Info::Other) | None if ended.confirming && ended.new == 0 => {
            proven(Spans::default(), GapEvidence::CleanEof)
        }
        Some(Info::Other) | None => Verdict::Confirm { from: ended.newest.unwrap_or(ended.request.from) },
    }
}

fn proven(rest: Spans, evidence: GapEvidence) -> Verdict {
    Verdict::Proven { rest, evidence }
}

/// All but what X names. Where it names nothing of the request, nothing is known to be complete.
fn all_but(ended: &Ended, named: Spans, otherwise: UnixMillis) -> Verdict {
    let rest = named.within(ended.request);
    if rest.is_empty() { Verdict::Again { from: otherwise } } else { proven(rest, GapEvidence::CompletionMessage) }
}

impl Ended {
    /// The minute before that of the newest post: posts are in order by the minute only.
    fn resume_at(&self) -> UnixMillis {
        resume_at(self.request, self.newest)
    }
}

/// From where a request is made again when it was cut short: all minutes before this one have come.
pub(super) fn resume_at(request: Span, newest: Option<UnixMillis>) -> UnixMillis {
    newest.map_or(request.from, |newest| newest.minus(MINUTE).max(request.from))
}

/// Whom a failure concerns, and so who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// This request alone: it had begun.
    Cut,
    /// All jobs: X, or the way to it, takes no request now.
    Held {
        /// False if the request does not count as one: X had no room for it.
        counts: bool,
    },
    /// All jobs, and X may never take them: it does not grant recovery.
    Forbidden,
    /// This window: X does not take it.
    BadWindow,
}

/// Judges what a failed request ended with.
pub(super) fn setback(cause: &EndCause) -> Setback {
    match cause {
        EndCause::CleanEof
        | EndCause::Cut(_)
        | EndCause::Stale
        | EndCause::SlowReader
        | EndCause::Operational
        | EndCause::ForcedDisconnect
        | EndCause::Stopped => Setback::Cut,
        EndCause::TooManyConnections => Setback::Held { counts: false },
        EndCause::UsageCapped | EndCause::ConnectFailed(_) | EndCause::NoCredentials(_) => {
            Setback::Held { counts: true }
        }
        EndCause::Refused(problem) => match problem.kind {
            Kind::TooManyConnections | Kind::RateLimited { .. } | Kind::Provisioning => Setback::Held { counts: false },
            Kind::Forbidden => Setback::Forbidden,
            Kind::InvalidRequest | Kind::NotFound | Kind::NotAcceptable => Setback::BadWindow,
            Kind::UsageCapped { .. }
            | Kind::Unauthorized
            | Kind::NoRules
            | Kind::Redirect
            | Kind::Server
            | Kind::Other => Setback::Held { counts: true },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xapi::{BodyError, BodyErrorKind, Headers, Problem};

    const START: i64 = 1_750_000_020_000;

    fn minute(number: i64) -> UnixMillis {
        UnixMillis(START / 60_000 * 60_000 + number * 60_000)
    }

    fn minutes(from: i64, to: i64) -> Span {
        Span::new(minute(from), minute(to))
    }

    fn ended(change: impl FnOnce(&mut Ended)) -> Verdict {
        let mut ended = Ended {
            request: minutes(0, 30),
            confirming: false,
            info: None,
            newest: Some(minute(7)),
            new: 3,
            clean: true,
        };
        change(&mut ended);
        verdict(&ended)
    }

    fn rest(spans: &[Span], evidence: GapEvidence) -> Verdict {
        proven(spans.iter().copied().collect(), evidence)
    }

    #[test]
    fn what_x_says_is_complete_is() {
        let said = |info| ended(|ended| ended.info = Some(info));
        let all = rest(&[], GapEvidence::CompletionMessage);
        assert_eq!(said(Info::Completed), all);
        let cut_after_it = ended(|ended| (ended.info, ended.clean) = (Some(Info::Completed), false));
        assert_eq!(cut_after_it, all);
        let failed = |minutes_failed| said(Info::CompletedWithErrors { minutes_failed });
        assert_eq!(
            failed(vec![minute(3), UnixMillis(minute(9).0 + 5_000), minute(99)]),
            rest(&[minutes(3, 4), minutes(9, 10)], GapEvidence::CompletionMessage),
        );
        let nothing_named = Verdict::Again { from: minute(0) };
        assert_eq!((failed(vec![]), failed(vec![minute(99)])), (nothing_named.clone(), nothing_named));
        let range = |from, to| said(Info::FailedToComplete { from, to });
        let from_12 = rest(&[minutes(12, 30)], GapEvidence::CompletionMessage);
        assert_eq!(range(Some(UnixMillis(minute(12).0 + 1)), Some(minute(90))), from_12);
        assert_eq!(range(Some(minute(12)), None), from_12);
        assert_eq!(range(None, Some(minute(2))), rest(&[minutes(0, 2)], GapEvidence::CompletionMessage));
        assert_eq!(range(None, None), Verdict::Again { from: minute(6) });
        assert_eq!(range(Some(minute(40)), Some(minute(50))), Verdict::Again { from: minute(6) });
    }

    #[test]
    fn an_end_without_a_word_is_confirmed_by_one_that_brings_nothing_new() {
        assert_eq!(ended(|_| ()), Verdict::Confirm { from: minute(7) });
        assert_eq!(ended(|ended| ended.new = 0), Verdict::Confirm { from: minute(7) });
        assert_eq!(ended(|ended| ended.newest = None), Verdict::Confirm { from: minute(0) });
        assert_eq!(ended(|ended| ended.confirming = true), Verdict::Confirm { from: minute(7) });
        let quiet = |ended: &mut Ended| (ended.confirming, ended.new) = (true, 0);
        assert_eq!(ended(quiet), rest(&[], GapEvidence::CleanEof));
        let other = ended(|ended| {
            quiet(ended);
            ended.info = Some(Info::Other);
        });
        assert_eq!(other, rest(&[], GapEvidence::CleanEof));
    }

    #[test]
    fn what_was_cut_goes_on_a_minute_before_the_newest_post() {
        let cut = |newest, confirming| {
            ended(|ended| (ended.clean, ended.newest, ended.confirming, ended.new) = (false, newest, confirming, 0))
        };
        assert_eq!(cut(Some(minute(7)), false), Verdict::Again { from: minute(6) });
        assert_eq!(cut(Some(minute(7)), true), Verdict::Again { from: minute(6) });
        assert_eq!(cut(Some(minute(0)), false), Verdict::Again { from: minute(0) }, "never before the start");
        assert_eq!(cut(None, false), Verdict::Again { from: minute(0) });
    }

    #[test]
    fn a_failure_holds_up_those_whom_it_concerns() {
        let refused =
            |status, body: &str| setback(&EndCause::Refused(Box::new(Problem::read(status, Headers::default(), body))));
        let too_many = r#"{"connection_issue":"TooManyConnections"}"#;
        assert_eq!(refused(429, too_many), Setback::Held { counts: false });
        assert_eq!(refused(429, ""), Setback::Held { counts: false });
        assert_eq!(setback(&EndCause::TooManyConnections), Setback::Held { counts: false });
        assert_eq!(refused(401, ""), Setback::Held { counts: true });
        assert_eq!(refused(503, ""), Setback::Held { counts: true });
        assert_eq!(refused(429, r#"{"title":"UsageCapExceeded"}"#), Setback::Held { counts: true });
        assert_eq!(setback(&EndCause::NoCredentials(String::new())), Setback::Held { counts: true });
        assert_eq!(refused(403, ""), Setback::Forbidden);
        assert_eq!((refused(400, ""), refused(406, "")), (Setback::BadWindow, Setback::BadWindow));
        let cut = BodyError { kind: BodyErrorKind::Cut, detail: String::new() };
        assert_eq!((setback(&EndCause::Cut(cut)), setback(&EndCause::Stale)), (Setback::Cut, Setback::Cut));
    }
}
