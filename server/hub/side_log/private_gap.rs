use super::{SideLog, SubscriptionCoverage};
use crate::model::{GapCause, GapId, Sequence, TimeRange, TimeRangeSet, UnixMillis};

/// A private gap: an interval that is missing from one subscription, as its token contains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrivateGap {
    /// The interval.
    pub span: TimeRange,
    /// Cause: the position was trimmed, the log was lost, or a part of it is damaged.
    pub cause: GapCause,
    /// First record of the side log that may contain posts of it; 0 = unknown.
    pub since: Sequence,
    /// Next record of the side log to read for it; 0 = from the first that contains any of it.
    pub offset: Sequence,
    /// Records of the side log before this one were read before, and are read again for posts that the account's log
    /// was to deliver then and no longer can; 0 = none.
    pub passed_until: Sequence,
    /// Record of the account's log from which on every selection considered this gap.
    pub born: Sequence,
    /// Posts of it created up to this time may have been delivered before.
    pub repeats_until: UnixMillis,
    /// True if it is unknown which posts were delivered: all may be repeats.
    pub is_restarted: bool,
    /// True if it has ended. It is remembered for posts that reach the account's log later.
    pub is_closed: bool,
}

/// Private gaps of a subscription, and its coverage of the account's log. Gaps do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivateGaps {
    /// Side log that the offsets belong to.
    pub tag: u32,
    /// The records of the account's log that the subscription reads or has read.
    pub coverage: SubscriptionCoverage,
    /// In order.
    pub private_gaps: Vec<PrivateGap>,
}

impl PrivateGap {
    /// Creates a gap of which nothing was delivered, except perhaps posts created up to `repeats_until`. `born` is the
    /// next record of the account's log that the subscription reads.
    pub fn new(span: TimeRange, cause: GapCause, repeats_until: UnixMillis, born: Sequence) -> Self {
        let (since, offset, passed_until) = (0, 0, 0);
        let (is_restarted, is_closed) = (false, false);
        Self { span, cause, since, offset, passed_until, born, repeats_until, is_restarted, is_closed }
    }

    /// Returns its id, which is the same for all subscriptions that miss the same interval.
    pub fn id(&self) -> GapId {
        GapId::private(self.span)
    }

    /// Restarts it: reads it from the first record on, and marks all of it as a possible repeat. `born` is the next
    /// record of the account's log that the subscription reads.
    pub fn reset(&mut self, born: Sequence) {
        (self.since, self.offset, self.passed_until) = (0, 0, 0);
        self.forget(born);
    }

    /// Resets the progress: it is unknown which posts were delivered.
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
    /// Maximum gaps of a token; the nearest are merged (contract, section 1).
    pub const MAX: usize = 8;

    /// Returns true if the subscription reads the account's log from its first record on.
    pub fn from_beginning(&self) -> bool {
        self.coverage.main_log_from <= 1
    }

    /// Returns `None` if there is nothing to remember: no gap, and complete coverage.
    pub fn or_none(self) -> Option<Self> {
        (!self.private_gaps.is_empty() || !self.coverage.passed.is_empty()).then_some(self)
    }

    /// Returns the gaps that have not ended.
    pub fn open(&self) -> impl Iterator<Item = &PrivateGap> {
        self.private_gaps.iter().filter(|private_gap| !private_gap.is_closed)
    }

    /// Returns the gaps that have not ended, mutable.
    pub fn open_mut(&mut self) -> impl Iterator<Item = &mut PrivateGap> {
        self.private_gaps.iter_mut().filter(|private_gap| !private_gap.is_closed)
    }

    /// Returns the gap, ended or not, that contains this creation time.
    pub fn at(&self, created: Option<UnixMillis>) -> Option<&PrivateGap> {
        let created = created?;
        self.private_gaps.iter().find(|private_gap| private_gap.span.contains(created))
    }

    /// Adds the parts of `private_gap` that no gap contains yet.
    pub fn add(&mut self, private_gap: PrivateGap) {
        let mut fresh: TimeRangeSet = [private_gap.span].into_iter().collect();
        self.private_gaps.iter().for_each(|held| fresh.remove(held.span));
        self.private_gaps.extend(fresh.iter().map(|span| PrivateGap { span, ..private_gap }));
        self.private_gaps.sort_by_key(|private_gap| private_gap.span.from);
        while self.private_gaps.len() > Self::MAX {
            self.shrink();
        }
    }

    /// Records that posts of `span` created up to `until` may have been delivered before.
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

    /// Removes ended gaps of which no post can come any more.
    pub fn prune(&mut self, oldest: UnixMillis) {
        self.private_gaps.retain(|private_gap| !private_gap.is_closed || private_gap.span.to > oldest);
    }

    /// Merges two gaps, or removes an ended one.
    fn shrink(&mut self) {
        let pairs = || 0..self.private_gaps.len() - 1;
        let distance = |at: &usize| self.private_gaps[at + 1].span.from.since(self.private_gaps[*at].span.to);
        let alike = |at: &usize| self.private_gaps[*at].is_closed == self.private_gaps[at + 1].is_closed;
        if let Some(at) = pairs().filter(alike).min_by_key(distance) {
            return self.join(at);
        }
        // Open and ended gaps alternate, so at least three have ended. Merging one with an open gap would deliver all
        // of it again.
        if let Some(oldest) = self.private_gaps.iter().position(|private_gap| private_gap.is_closed) {
            self.private_gaps.remove(oldest);
        }
    }

    /// Merges a gap with the next. It contains times that were delivered: all of it may be a repeat.
    fn join(&mut self, at: usize) {
        let (a, b) = (self.private_gaps[at], self.private_gaps.remove(at + 1));
        let span = TimeRange::new(a.span.from, b.span.to);
        let (since, offset) = (a.since.min(b.since), a.offset.min(b.offset));
        let mut joined = PrivateGap { span, since, offset, passed_until: 0, ..a };
        joined.forget(self.coverage.main_log_from);
        self.private_gaps[at] = joined;
    }

    /// Removes the records [`from`, `to`) of the account's log from the coverage: they are trimmed or damaged. Their
    /// posts are read from the side log again. Ended gaps that `span` touches are opened again.
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

    /// Continues in another log or position: it is unknown which posts either log was to deliver.
    pub fn rebase(&mut self, main_from: Sequence) {
        self.coverage = SubscriptionCoverage::from(main_from);
        self.private_gaps.iter_mut().for_each(|private_gap| private_gap.forget(main_from));
    }

    /// Returns true if the offsets belong to this side log.
    pub fn offsets_valid(&self, side: &SideLog) -> bool {
        self.private_gaps.iter().all(|private_gap| {
            private_gap.offset == 0 || self.tag == side.log_id() && private_gap.offset <= side.next()
        })
    }

    /// Requests the open gaps. Those with offsets of another side log are read from their first record on. `cursor` is
    /// the next record of the account's log that the subscription reads.
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

    /// Requests the gaps of which nothing was read yet.
    pub fn demand_new(&mut self, side: &SideLog) {
        let from_beginning = self.from_beginning();
        self.open_mut()
            .filter(|private_gap| private_gap.offset == 0)
            .for_each(|private_gap| private_gap.request_missing(side, from_beginning));
        self.tag = side.log_id();
    }
}
