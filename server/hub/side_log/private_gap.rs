use super::{Coverage, SideLog};
use crate::model::{GapCause, GapId, Sequence, TimeRange, TimeRangeSet, UnixMillis};

/// A private gap: an interval that a subscription lacks, as its token carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrivateGap {
    /// The interval.
    pub span: TimeRange,
    /// Why: the position was trimmed, the log was lost, or a part of it is damaged.
    pub cause: GapCause,
    /// The first record of the side log that may hold posts of it; 0 = not known.
    pub since: Sequence,
    /// The next record of the side log to read for it; 0 = from the first that has anything of it.
    pub offset: Sequence,
    /// Records of the side log before this one were read before, and are read again for what the account's log was to
    /// deliver then and does not any more; 0 = none.
    pub passed_until: Sequence,
    /// The record of the account's log from which on all was decided with this gap in view.
    pub born: Sequence,
    /// Posts of it created up to this time may have been delivered before.
    pub repeats_until: UnixMillis,
    /// What of it was delivered is not known: all of it may be a repeat.
    pub is_restarted: bool,
    /// It has ended. It is remembered for posts of it that reach the account's log later.
    pub is_closed: bool,
}

/// The private gaps of a subscription, and what the subscription reads of the account's log. None overlaps another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivateGaps {
    /// The side log that the offsets are of.
    pub tag: u32,
    /// The records of the account's log that the subscription reads or has read.
    pub coverage: Coverage,
    /// In order.
    pub private_gaps: Vec<PrivateGap>,
}

impl PrivateGap {
    /// A gap of which nothing was delivered, but perhaps posts created up to `repeats_until`. `born` is the next record of
    /// the account's log that the subscription reads.
    pub fn new(span: TimeRange, cause: GapCause, repeats_until: UnixMillis, born: Sequence) -> Self {
        let (since, offset, passed_until) = (0, 0, 0);
        let (is_restarted, is_closed) = (false, false);
        Self { span, cause, since, offset, passed_until, born, repeats_until, is_restarted, is_closed }
    }

    /// Its id: the same for all that lack the same interval.
    pub fn id(&self) -> GapId {
        GapId::private(self.span)
    }

    /// Reads it from the first record on, and reports all of it as a possible repeat. `born` is the next record of the
    /// account's log that the subscription reads.
    pub fn reset(&mut self, born: Sequence) {
        (self.since, self.offset, self.passed_until) = (0, 0, 0);
        self.forget(born);
    }

    /// What of it was delivered is not known any more.
    fn forget(&mut self, born: Sequence) {
        (self.born, self.is_restarted) = (born, true);
        self.repeats_until = self.repeats_until.max(self.span.to);
    }

    fn overlaps(&self, span: TimeRange) -> bool {
        !self.span.intersection(span).is_empty()
    }

    fn request_missing(&mut self, side: &SideLog, from_beginning: bool) {
        let since = side.request(self.span, from_beginning);
        if self.offset == 0 {
            (self.since, self.offset) = (since, since);
        }
    }
}

impl PrivateGaps {
    /// Most gaps that a token carries; beyond it the nearest become one (contract, section 1).
    pub const MAX: usize = 8;

    /// True if the subscription reads the account's log from its first record on.
    pub fn from_beginning(&self) -> bool {
        self.coverage.main_log_from <= 1
    }

    /// `None` if nothing has to be remembered: there is no gap, and the subscription read its part of the log without one.
    pub fn or_none(self) -> Option<Self> {
        (!self.private_gaps.is_empty() || !self.coverage.passed.is_empty()).then_some(self)
    }

    /// The gaps that have not ended.
    pub fn open(&self) -> impl Iterator<Item = &PrivateGap> {
        self.private_gaps.iter().filter(|private_gap| !private_gap.is_closed)
    }

    /// The gaps that have not ended, to change them.
    pub fn open_mut(&mut self) -> impl Iterator<Item = &mut PrivateGap> {
        self.private_gaps.iter_mut().filter(|private_gap| !private_gap.is_closed)
    }

    /// The gap, ended or not, that a post created at this time lies in.
    pub fn at(&self, created: Option<UnixMillis>) -> Option<&PrivateGap> {
        let created = created?;
        self.private_gaps.iter().find(|private_gap| private_gap.span.contains(created))
    }

    /// Adds what of `private_gap` is in none of them.
    pub fn add(&mut self, private_gap: PrivateGap) {
        let mut fresh: TimeRangeSet = [private_gap.span].into_iter().collect();
        self.private_gaps.iter().for_each(|held| fresh.remove(held.span));
        self.private_gaps.extend(fresh.iter().map(|span| PrivateGap { span, ..private_gap }));
        self.private_gaps.sort_by_key(|private_gap| private_gap.span.from);
        while self.private_gaps.len() > Self::MAX {
            self.shrink();
        }
    }

    /// Posts of `span` created up to `until` may have been delivered before.
    pub fn note_repeats(&mut self, span: TimeRange, until: UnixMillis) {
        let overlapping = self.private_gaps.iter_mut().filter(|private_gap| private_gap.overlaps(span));
        overlapping.for_each(|private_gap| private_gap.repeats_until = private_gap.repeats_until.max(until));
    }

    /// Ends a gap.
    pub fn close(&mut self, span: TimeRange) {
        self.private_gaps
            .iter_mut()
            .filter(|private_gap| private_gap.span == span)
            .for_each(|private_gap| private_gap.is_closed = true);
    }

    /// Forgets ended gaps of which no post can come any more.
    pub fn prune(&mut self, oldest: UnixMillis) {
        self.private_gaps.retain(|private_gap| !private_gap.is_closed || private_gap.span.to > oldest);
    }

    /// Makes two of them one, or forgets one that has ended.
    fn shrink(&mut self) {
        let pairs = || 0..self.private_gaps.len() - 1;
        let apart = |at: &usize| self.private_gaps[at + 1].span.from.since(self.private_gaps[*at].span.to);
        let alike = |at: &usize| self.private_gaps[*at].is_closed == self.private_gaps[at + 1].is_closed;
        if let Some(at) = pairs().filter(alike).min_by_key(apart) {
            return self.join(at);
        }
        // They alternate: at least three have ended. Joined with one that is open, all of it would be delivered again.
        if let Some(oldest) = self.private_gaps.iter().position(|private_gap| private_gap.is_closed) {
            self.private_gaps.remove(oldest);
        }
    }

    /// The joined gap holds times that were delivered: all of it may be a repeat.
    fn join(&mut self, at: usize) {
        let (a, b) = (self.private_gaps[at], self.private_gaps.remove(at + 1));
        let span = TimeRange::new(a.span.from, b.span.to);
        let (since, offset) = (a.since.min(b.since), a.offset.min(b.offset));
        let mut joined = PrivateGap { span, since, offset, passed_until: 0, ..a };
        joined.forget(self.coverage.main_log_from);
        self.private_gaps[at] = joined;
    }

    /// The subscription does not read the records [`from`, `to`) of the account's log: they are trimmed or damaged. What of them
    /// was left to the account's log is looked for in the side log again. Ended gaps that `span` touches are open again.
    pub fn skip(&mut self, from: Sequence, to: Sequence, span: TimeRange) {
        self.coverage.skip(from, to);
        for private_gap in
            self.private_gaps.iter_mut().filter(|private_gap| !private_gap.is_closed || private_gap.overlaps(span))
        {
            private_gap.is_closed = false;
            private_gap.passed_until = private_gap.passed_until.max(private_gap.offset);
            private_gap.offset = private_gap.since;
        }
    }

    /// The log is read on from elsewhere: what was left to the log to deliver, and what to the side log, is not known any
    /// more.
    pub fn rebase(&mut self, main_from: Sequence) {
        self.coverage = Coverage::from(main_from);
        self.private_gaps.iter_mut().for_each(|private_gap| private_gap.forget(main_from));
    }

    /// True if the offsets are of this side log.
    pub fn offsets_valid(&self, side: &SideLog) -> bool {
        self.private_gaps.iter().all(|private_gap| {
            private_gap.offset == 0 || self.tag == side.log_id() && private_gap.offset <= side.next()
        })
    }

    /// Asks for the open ones. Those with offsets of another side log are read from their first record on. `cursor` is the
    /// next record of the account's log that the subscription reads.
    pub fn request_missing(&mut self, side: &SideLog, cursor: Sequence) {
        if !self.offsets_valid(side) {
            self.private_gaps.retain(|private_gap| !private_gap.is_closed);
            self.private_gaps
                .iter_mut()
                .filter(|private_gap| private_gap.offset > 0)
                .for_each(|private_gap| private_gap.reset(cursor));
        }
        let from_beginning = self.from_beginning();
        self.open_mut().for_each(|private_gap| private_gap.request_missing(side, from_beginning));
        self.tag = side.log_id();
    }

    /// Asks for those that nothing was read for yet.
    pub fn demand_new(&mut self, side: &SideLog) {
        let from_beginning = self.from_beginning();
        self.open_mut()
            .filter(|private_gap| private_gap.offset == 0)
            .for_each(|private_gap| private_gap.request_missing(side, from_beginning));
        self.tag = side.log_id();
    }
}
