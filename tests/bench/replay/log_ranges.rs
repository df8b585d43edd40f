//! Which range of the log a row reads next: always another one, so that none is left in memory by a row before.

use std::ops::Range;

use powerstream_gateway::model::Sequence;

/// The parts of the log.
pub struct Parts {
    /// Recompressed, in several segments.
    pub packed: Range<Sequence>,
    /// As appended.
    pub fresh: Range<Sequence>,
    /// In memory, too.
    pub ring: Range<Sequence>,
}

/// Goes round in each part.
pub struct LogRanges {
    packed: Round,
    near: Round,
    far: Round,
    fresh: Round,
    ring: Round,
}

struct Round {
    part: Range<Sequence>,
    next: Sequence,
}

impl Round {
    fn new(part: Range<Sequence>) -> Self {
        Self { next: part.start, part }
    }

    fn take(&mut self, posts: u64) -> Sequence {
        // Batches end where they end: a session reads somewhat more than it was asked to.
        const MARGIN: u64 = 100;
        if self.next + posts + MARGIN > self.part.end {
            self.next = self.part.start;
        }
        let from = self.next;
        self.next += posts + MARGIN;
        assert!(self.next <= self.part.end, "a part of the log is too short for a row");
        from
    }
}

impl LogRanges {
    /// At the beginning of each part.
    pub fn new(parts: &Parts) -> Self {
        let Range { start, end } = parts.packed;
        let tenth = (end - start) / 10;
        Self {
            packed: Round::new(start + tenth..end - tenth),
            near: Round::new(end - tenth..end),
            far: Round::new(start..start + tenth),
            fresh: Round::new(parts.fresh.clone()),
            ring: Round::new(parts.ring.clone()),
        }
    }

    /// The next range that is recompressed.
    pub fn packed(&mut self, posts: u64) -> Sequence {
        self.packed.take(posts)
    }

    /// The next that is recompressed, and is among the newest of those.
    pub fn near(&mut self, posts: u64) -> Sequence {
        self.near.take(posts)
    }

    /// The next among the oldest of the log.
    pub fn far(&mut self, posts: u64) -> Sequence {
        self.far.take(posts)
    }

    /// The next that lies as it was appended.
    pub fn fresh(&mut self, posts: u64) -> Sequence {
        self.fresh.take(posts)
    }

    /// The next that the ring holds.
    pub fn ring(&mut self, posts: u64) -> Sequence {
        self.ring.take(posts)
    }
}
