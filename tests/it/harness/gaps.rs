//! Gap reports of a subscription, for scenarios that expect certain gaps; the oracle checks all of them.

use std::time::Duration;

use powerstream_gateway::model::{TimeRange, TimeRangeSet, UnixMillis};
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{Event, Gap, GapState};
use powerstream_gateway::simulator::SentPost;

use super::Subscriber;

/// Allowed lateness of posts from X (contract, 1).
pub const ALLOWED_LATENESS: Duration = Duration::from_secs(30);

/// Gap reports of a subscription.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    /// Number of posts before the report, whether it was in the first frame of a session, and the reported gap.
    reported: Vec<(usize, bool, Gap)>,
}

/// A time in which upstream was down, by the write log of the simulator.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// The last whole message or heartbeat before it was written then.
    pub last: UnixMillis,
    /// X was asked at this time, and answered with the next connection.
    pub answered: UnixMillis,
}

/// A time of the API.
pub fn millis(time: &prost_types::Timestamp) -> UnixMillis {
    UnixMillis(time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000)
}

/// The interval of a gap; one that is open has no end that could be named.
pub fn span(gap: &Gap) -> TimeRange {
    let interval = gap.interval.as_ref().expect("a gap has an interval");
    let from = millis(interval.start_time.as_ref().expect("a gap has a start"));
    TimeRange::new(from, interval.end_time.as_ref().map_or(UnixMillis(i64::MAX), millis))
}

impl Gaps {
    /// Gaps that one session received.
    pub fn of(session: &Subscriber) -> Self {
        let mut gaps = Self::default();
        gaps.follow(0, session);
        gaps
    }

    /// Adds those of the next session, before which so many posts had arrived.
    pub fn follow(&mut self, had: usize, session: &Subscriber) {
        self.reported.extend(session.start.open_gaps.iter().map(|gap| (had, true, gap.clone())));
        for (before, frame) in &session.notices {
            if let Frame::GapNotice(notice) = frame {
                self.reported.push((had + before, false, notice.gap.clone().expect("a notice of a gap has one")));
            }
        }
    }

    /// Each gap as announced last, in the order of the first announcements.
    pub fn last(&self) -> Vec<&Gap> {
        let mut last: Vec<&Gap> = Vec::new();
        for (_, _, gap) in &self.reported {
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
            self.reported.iter().filter(|(_, _, gap)| gap.gap_id == id).map(|(_, _, gap)| gap.state()).collect();
        states.dedup();
        states
    }

    /// All announcements, for the analysis of a failure.
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
        self.reported.iter().filter(|(_, _, gap)| gap.gap_id == id).map(line).collect()
    }

    /// The states of each gap, in the order of the first announcements.
    pub fn histories(&self) -> Vec<Vec<GapState>> {
        self.last().iter().map(|gap| self.states(&gap.gap_id)).collect()
    }

    /// True if no gap is open.
    pub fn are_over(&self) -> bool {
        self.last().iter().all(|gap| gap.closed)
    }

    /// The same without the gaps that were over by then: on a busy machine a log may begin with one.
    pub fn since(&self, time: UnixMillis) -> Self {
        let over: Vec<String> =
            self.last().into_iter().filter(|gap| span(gap).to <= time).map(|gap| gap.gap_id.clone()).collect();
        Self { reported: self.reported.iter().filter(|(_, _, gap)| !over.contains(&gap.gap_id)).cloned().collect() }
    }

    /// The same with one session more.
    pub fn with(&self, session: &Subscriber) -> Self {
        let mut own = self.clone();
        own.follow(usize::MAX / 2, session);
        own
    }

    /// True if no gap is open, and the last post that is due has come: what closes a gap comes before its end, and what is
    /// live in order.
    pub fn have_settled(&self, last: Option<&SentPost>, got: &[Event]) -> bool {
        let came = |last: &SentPost| got.iter().rev().any(|event| event.post_id == last.post_id.0);
        self.are_over() && last.is_none_or(|last| self.excused().contains(last.created) || came(last))
    }

    /// The intervals of the gaps whose last state is one of these.
    pub fn spans(&self, states: &[GapState]) -> TimeRangeSet {
        self.last().into_iter().filter(|gap| states.contains(&gap.state())).map(span).collect()
    }

    /// Where posts may be missing: gaps that are open, or were given up.
    pub fn excused(&self) -> TimeRangeSet {
        self.spans(&[GapState::Detected, GapState::Recovering, GapState::Unrecoverable])
    }
}
