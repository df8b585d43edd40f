//! What a lineage was told of gaps, and what has to hold of it whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use powerstream_gateway::model::{Span, Spans, UnixMillis};
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{Event, Gap, GapCause, GapEvidence, GapState, Origin};
use powerstream_gateway::simulator::Truth;

use super::Subscriber;

/// Allowance for what X sends late (contract, 1).
pub const SLACK: Duration = Duration::from_secs(30);

/// What a lineage was told of gaps.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    /// How many posts had come before, whether it was in the first frame of a session, and the gap as it was told.
    told: Vec<(usize, bool, Gap)>,
}

/// A time in which upstream was down, as the simulator and the log saw it.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// Something came no earlier than this before it.
    pub last: UnixMillis,
    /// X was asked at this time, and answered with the next connection.
    pub answered: UnixMillis,
    /// Something came no later than this on that connection.
    pub back: UnixMillis,
}

/// A time of the API.
pub fn millis(time: &prost_types::Timestamp) -> UnixMillis {
    UnixMillis(time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000)
}

/// The interval of a gap; one that is open has no end that could be named.
pub fn span(gap: &Gap) -> Span {
    let from = millis(gap.from.as_ref().expect("a gap has a start"));
    Span::new(from, gap.to.as_ref().map_or(UnixMillis(i64::MAX), millis))
}

fn is_final(state: GapState) -> bool {
    matches!(state, GapState::Backfilled | GapState::Recovered | GapState::Unrecoverable)
}

/// How far the closing of a gap has come.
fn rank(state: GapState) -> u8 {
    match state {
        GapState::Unspecified => panic!("a gap has a state"),
        GapState::Detected => 0,
        GapState::Recovering => 1,
        GapState::Backfilled | GapState::Recovered | GapState::Unrecoverable => 2,
    }
}

impl Gaps {
    /// What one session was told.
    pub fn of(session: &Subscriber) -> Self {
        let mut gaps = Self::default();
        gaps.follow(0, session);
        gaps
    }

    /// And what the next one was told, before which so many posts had come.
    pub fn follow(&mut self, had: usize, session: &Subscriber) {
        self.told.extend(session.start.open_gaps.iter().map(|gap| (had, true, gap.clone())));
        for (before, frame) in &session.notices {
            if let Frame::GapNotice(notice) = frame {
                self.told.push((had + before, false, notice.gap.clone().expect("a notice of a gap has one")));
            }
        }
    }

    /// Each gap as it was told last, in the order in which they were told first.
    pub fn last(&self) -> Vec<&Gap> {
        let mut last: Vec<&Gap> = Vec::new();
        for (_, _, gap) in &self.told {
            match last.iter_mut().find(|own| own.gap_id == gap.gap_id) {
                Some(own) => *own = gap,
                None => last.push(gap),
            }
        }
        last
    }

    /// The states that a gap went through.
    pub fn states(&self, id: &str) -> Vec<GapState> {
        let mut states: Vec<_> =
            self.told.iter().filter(|(_, _, gap)| gap.gap_id == id).map(|(_, _, gap)| gap.state()).collect();
        states.dedup();
        states
    }

    /// All that was told, for those who look into a failure.
    pub fn stories(&self) -> Vec<String> {
        let own =
            |gap: &&Gap| format!("{} with {:?}: {}", gap.gap_id, gap.evidence(), self.story(&gap.gap_id).join("; "));
        self.last().iter().map(own).collect()
    }

    fn story(&self, id: &str) -> Vec<String> {
        let line = |(before, first_frame, gap): &(usize, bool, Gap)| {
            let when = if *first_frame { "at a start, " } else { "" };
            format!("{when}after {before} posts: {:?} {:?} {:?}", gap.state(), span(gap), gap.cause())
        };
        self.told.iter().filter(|(_, _, gap)| gap.gap_id == id).map(line).collect()
    }

    /// The states of each gap, in the order in which they were told first.
    pub fn histories(&self) -> Vec<Vec<GapState>> {
        self.last().iter().map(|gap| self.states(&gap.gap_id)).collect()
    }

    /// True if no gap is open.
    pub fn are_over(&self) -> bool {
        self.last().iter().all(|gap| is_final(gap.state()))
    }

    /// The same with one session more.
    pub fn with(&self, session: &Subscriber) -> Self {
        let mut own = self.clone();
        own.follow(usize::MAX / 2, session);
        own
    }

    /// True if no gap is open, and the last post that is due has come: what closes a gap comes before its end, and what is
    /// live in order.
    pub fn have_settled(&self, last: Option<&Truth>, got: &[Event]) -> bool {
        let came = |last: &Truth| got.iter().rev().any(|event| event.post_id == last.post_id.0);
        self.are_over() && last.is_none_or(|last| self.excused().contains(last.created) || came(last))
    }

    /// The intervals of the gaps whose last state is one of these.
    pub fn spans(&self, states: &[GapState]) -> Spans {
        self.last().into_iter().filter(|gap| states.contains(&gap.state())).map(span).collect()
    }

    /// Where posts may be missing: gaps that are open, or were given up.
    pub fn excused(&self) -> Spans {
        self.spans(&[GapState::Detected, GapState::Recovering, GapState::Unrecoverable])
    }

    /// What holds for every lineage: each gap has an id, a cause, and evidence for its end; states only go forward; what
    /// closes a gap comes after the gap was told.
    pub fn check(&self, who: &str, got: &[Event]) {
        let mut ranks: BTreeMap<&str, u8> = BTreeMap::new();
        for (_, first_frame, gap) in &self.told {
            let state = gap.state();
            assert!(
                !gap.gap_id.is_empty() && gap.cause() != GapCause::Unspecified,
                "{who}: no gap without a cause: {gap:?}"
            );
            assert!(!span(gap).is_empty(), "{who}: a gap has a width: {gap:?}");
            assert!(gap.to.is_some() || !is_final(state), "{who}: what ended has bounds: {gap:?}");
            let evidence = match state {
                GapState::Backfilled => [GapEvidence::BackfillQuiet, GapEvidence::NothingDue].contains(&gap.evidence()),
                GapState::Recovered => matches!(
                    gap.evidence(),
                    GapEvidence::CompletionMessage
                        | GapEvidence::CleanEof
                        | GapEvidence::NothingDue
                        | GapEvidence::CountMismatch
                ),
                GapState::Unrecoverable => {
                    matches!(gap.evidence(), GapEvidence::WindowPassed | GapEvidence::Refused | GapEvidence::Unproven)
                }
                _ => true,
            };
            assert!(evidence, "{who}: the end of a gap has evidence: {gap:?}");
            let before = ranks.insert(&gap.gap_id, rank(state)).unwrap_or(0);
            // The first frame tells which gaps are open at the cursor, not what had become of them.
            let forward = if *first_frame { rank(state) < 2 } else { rank(state) >= before };
            assert!(
                forward,
                "{who}: {} went from rank {before} to {state:?} in {:#?}",
                gap.gap_id,
                self.story(&gap.gap_id)
            );
        }
        for (at, event) in got.iter().enumerate().filter(|(_, event)| !event.gap_id.is_empty()) {
            let created = UnixMillis(event.event_time_ms);
            let told = |(before, _, gap): &(usize, bool, Gap)| {
                *before <= at && gap.gap_id == event.gap_id && span(gap).contains(created)
            };
            let (id, origin, story) = (event.post_id, event.origin(), self.story(&event.gap_id));
            assert!(
                self.told.iter().any(told),
                "{who}: {id} of gap {} came untold, as number {at}, {origin:?}, created {created}: {story:#?}",
                event.gap_id,
            );
            assert_ne!(event.origin(), Origin::Live, "{who}: what closes a gap is not live");
        }
    }

    /// Each outage was told before the first post after it.
    pub fn announced(&self, who: &str, outages: &[Outage], got: &[Event]) {
        for outage in outages {
            let first = got.iter().position(|event| event.received_time_ms >= outage.answered.0).unwrap_or(got.len());
            let told = |(before, _, gap): &(usize, bool, Gap)| *before <= first && span(gap).contains(outage.answered);
            assert!(self.told.iter().any(told), "{who}: posts came before the gap at {} was told", outage.answered);
        }
    }

    /// The gaps are the outages, no more and no less but for the slack. `lag` is the longest way of a post to the gateway,
    /// `precision` how far the clocks of simulator and gateway may be apart.
    pub fn tight(&self, outages: &[Outage], lag: Duration, precision: Duration) {
        let whole: Spans = self.last().into_iter().map(span).collect();
        let mut held = 0;
        for hole in whole.iter() {
            let within: Vec<_> = outages.iter().filter(|outage| hole.contains(outage.answered)).collect();
            held += within.len();
            let (Some(first), Some(last)) = (within.first(), within.last()) else {
                panic!("a gap without an outage: {hole:?}, {outages:?}");
            };
            let early = first.last.minus(lag.max(SLACK)).minus(precision);
            let late = last.back.plus(SLACK).plus(precision);
            assert!(early <= hole.from && hole.to <= late, "{hole:?} is wider than {early} to {late}");
            let (from, to) = (first.answered.minus(SLACK).plus(precision), last.answered.plus(SLACK).minus(precision));
            assert!(hole.from <= from && to <= hole.to, "{hole:?} is narrower than {from} to {to}");
        }
        assert_eq!(held, outages.len(), "each outage lies in a gap: {whole:?}, {outages:?}");
    }
}
