use super::Side;
use crate::model::{GapCause, GapId, Sequence, Span, Spans, UnixMillis};

/// An interval that a lineage lacks, as its token carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The interval.
    pub span: Span,
    /// Why: the position was trimmed, or the log was lost.
    pub cause: GapCause,
    /// The next record of the side log to read for it; 0 = from the first that has anything of it.
    pub offset: Sequence,
    /// Posts of it created up to this time may have been delivered before.
    pub repeats_until: UnixMillis,
}

/// The open holes of a lineage. None overlaps another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holes {
    /// The side log that the offsets are of.
    pub tag: u32,
    /// The record of the account's log from which on the lineage reads all of it.
    pub main_from: Sequence,
    /// In order.
    pub holes: Vec<Hole>,
}

impl Hole {
    /// Its id: the same for all that lack the same interval.
    pub fn id(&self) -> GapId {
        GapId::private(self.span)
    }

    /// True if it cannot be told what of it was delivered.
    pub fn is_uncertain(&self) -> bool {
        self.repeats_until >= self.span.to
    }

    /// Reads it from the first record on, and tells all of it as a possible repeat.
    pub fn start_over(&mut self) {
        self.offset = 0;
        self.repeats_until = self.span.to;
    }
}

impl Holes {
    /// Most holes that a token carries; beyond it the nearest become one (contract, section 1).
    pub const MAX: usize = 8;

    /// True if the lineage reads the account's log from its first record on.
    pub fn from_beginning(&self) -> bool {
        self.main_from <= 1
    }

    /// `None` if there is none.
    pub fn or_none(self) -> Option<Self> {
        (!self.holes.is_empty()).then_some(self)
    }

    /// Adds what of `hole` is in none of them.
    pub fn add(&mut self, hole: Hole) {
        let mut fresh: Spans = [hole.span].into_iter().collect();
        self.holes.iter().for_each(|held| fresh.remove(held.span));
        self.holes.extend(fresh.iter().map(|span| Hole { span, ..hole }));
        self.holes.sort_by_key(|hole| hole.span.from);
        while self.holes.len() > Self::MAX {
            self.join_nearest();
        }
    }

    /// The joined hole holds times that were delivered: all of it may be a repeat.
    fn join_nearest(&mut self) {
        let apart = |at: &usize| self.holes[at + 1].span.from.since(self.holes[*at].span.to);
        let Some(at) = (0..self.holes.len() - 1).min_by_key(apart) else { return };
        let (a, b) = (self.holes[at], self.holes.remove(at + 1));
        let span = Span::new(a.span.from, b.span.to);
        self.holes[at] = Hole { span, cause: a.cause, offset: a.offset.min(b.offset), repeats_until: span.to };
    }

    /// The log is read on from elsewhere: what was left to the log to deliver, and what to the side log, is not known any
    /// more.
    pub fn move_to(&mut self, main_from: Sequence) {
        self.main_from = main_from;
        self.holes.iter_mut().for_each(|hole| hole.repeats_until = hole.span.to);
    }

    /// True if the offsets are of this side log.
    pub fn fits(&self, side: &Side) -> bool {
        self.holes.iter().all(|hole| hole.offset == 0 || self.tag == side.tag() && hole.offset <= side.next())
    }

    /// Asks for them. Those with offsets of another side log are read from their first record on.
    pub fn demand(&mut self, side: &Side) {
        let (fits, from_beginning) = (self.fits(side), self.from_beginning());
        for hole in &mut self.holes {
            if hole.offset > 0 && !fits {
                hole.start_over();
            }
            let since = side.want(hole.span, from_beginning);
            if hole.offset == 0 {
                hole.offset = since;
            }
        }
        self.tag = side.tag();
    }
}
