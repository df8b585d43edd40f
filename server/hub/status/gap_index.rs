//! Gaps as sessions see them, built from the GAP records of the log.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::model::{Gap, GapEvidence, GapState, Sequence, TimeInterval, UnixMillis};

/// Gaps announced in the log with their current state, and the records between which each was open.
pub struct GapIndex {
    gaps: RwLock<Vec<GapHistory>>,
    /// No gap is open at a cursor beyond this; `u64::MAX` while one is open at the tip.
    open_until: AtomicU64,
    kept_max: usize,
}

struct GapHistory {
    gap: Gap,
    opened: Sequence,
    /// Last record of the gap.
    changed: Sequence,
    closed: Option<Sequence>,
    /// Earlier announcements, oldest first, each with its sequence.
    earlier: Vec<(Sequence, Gap)>,
}

/// Maximum earlier records of a gap; the oldest are merged.
const EARLIER_MAX: usize = 8;

impl GapHistory {
    /// Returns true if the gap is open for a cursor that reads this record next.
    fn is_open_at(&self, cursor: Sequence) -> bool {
        self.opened < cursor && self.closed.is_none_or(|closed| cursor <= closed)
    }

    /// Applies a further record.
    fn change(&mut self, sequence: Sequence, gap: &Gap) {
        let before = std::mem::replace(&mut self.gap, gap.clone());
        self.earlier.push((self.changed, before));
        if self.earlier.len() > EARLIER_MAX {
            let second = self.earlier.remove(1).1.window;
            let window = &mut self.earlier[0].1.window;
            *window = TimeInterval {
                from: window.from.min(second.from),
                to: window.to.zip(second.to).map(|(a, b)| a.max(b)),
            };
        }
        self.changed = sequence;
        self.closed = gap.state.is_final().then_some(sequence);
    }

    /// Returns the gap as the records before `cursor` announced it.
    fn as_of(&self, cursor: Sequence) -> Gap {
        if self.changed < cursor {
            return self.gap.clone();
        }
        if let Some((_, gap)) = self.earlier.iter().rfind(|(sequence, _)| *sequence < cursor) {
            return gap.clone();
        }
        // The records that announced it are trimmed.
        let first = self.earlier.first().map_or(&self.gap, |(_, gap)| gap);
        let (state, evidence) = (GapState::Detected, GapEvidence::None);
        Gap { state, evidence, progress: None, recovered: 0, ..first.clone() }
    }
}

impl GapIndex {
    /// Creates an empty index that keeps up to `kept_max` closed gaps.
    pub fn new(kept_max: usize) -> Self {
        Self { gaps: RwLock::default(), open_until: AtomicU64::new(0), kept_max }
    }

    /// Applies a GAP record, in order.
    pub fn record(&self, sequence: Sequence, gap: &Gap) {
        self.note_opened(sequence, gap, sequence);
    }

    /// Applies a GAP record, in order. If it is the first known record of its gap, the gap was opened by `opened`,
    /// which may be trimmed.
    pub fn note_opened(&self, sequence: Sequence, gap: &Gap, opened: Sequence) {
        let mut gaps = self.gaps.write();
        let closed = gap.state.is_final().then_some(sequence);
        match gaps.iter_mut().find(|own| own.gap.id == gap.id) {
            Some(own) => own.change(sequence, gap),
            None => {
                let at = gaps.partition_point(|own| own.opened <= opened);
                gaps.insert(
                    at,
                    GapHistory { gap: gap.clone(), opened, changed: sequence, closed, earlier: Vec::new() },
                );
            }
        }
        if gaps.len() > self.kept_max
            && let Some(oldest) = gaps.iter().position(|own| own.closed.is_some())
        {
            gaps.remove(oldest);
        }
        let open_until = gaps.iter().map(|own| own.closed.unwrap_or(u64::MAX)).max().unwrap_or(0);
        self.open_until.store(open_until, Ordering::Release);
    }

    /// Returns the gaps that are open for a cursor that reads `cursor` next, at most `max` of those opened after the
    /// record `after`, and the record that opened the last of them if there are more. Bounds and states are those
    /// announced before `cursor`: a gap that is divided later is whole.
    pub fn open_at(&self, cursor: Sequence, after: Sequence, max: usize) -> (Vec<Gap>, Option<Sequence>) {
        if cursor > self.open_until.load(Ordering::Acquire) {
            return (Vec::new(), None);
        }
        let gaps = self.gaps.read();
        // In the order of the records that opened them.
        let begin = gaps.partition_point(|own| own.opened <= after);
        let mut open = gaps[begin..].iter().filter(|own| own.is_open_at(cursor)).peekable();
        let (mut gaps, mut last) = (Vec::new(), None);
        while gaps.len() < max
            && let Some(own) = open.next()
        {
            (last, _) = (Some(own.opened), gaps.push(own.as_of(cursor)));
        }
        (gaps, last.filter(|_| open.peek().is_some()))
    }

    /// Returns the gaps whose last record is in [`from`, `to`).
    pub fn changed_in(&self, from: Sequence, to: Sequence) -> Vec<Gap> {
        let gaps = self.gaps.read();
        gaps.iter().filter(|own| (from..to).contains(&own.changed)).map(|own| own.gap.clone()).collect()
    }

    /// Returns the low watermark of a cursor that has reached this time: at most the start of a gap that is open there.
    pub fn low_watermark(&self, cursor: Sequence, reached: UnixMillis) -> UnixMillis {
        if cursor > self.open_until.load(Ordering::Acquire) {
            return reached;
        }
        let gaps = self.gaps.read();
        let open = gaps.iter().filter(|own| own.is_open_at(cursor)).map(|own| own.gap.window.from);
        open.min().map_or(reached, |from| from.min(reached))
    }

    /// Returns all known gaps, oldest first.
    pub fn list(&self) -> Vec<Gap> {
        self.gaps.read().iter().map(|own| own.gap.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GapCause;
    use crate::model::GapId;

    fn gap(id: u64, from: i64, state: GapState) -> Gap {
        Gap {
            id: GapId(id),
            window: TimeInterval { from: UnixMillis(from), to: Some(UnixMillis(from + 10)) },
            cause: GapCause::Disconnected,
            state,
            evidence: GapEvidence::None,
            progress: None,
            recovered: 0,
        }
    }

    #[test]
    fn open_gap_holds_back_low_watermark() {
        let gaps = GapIndex::new(10);
        gaps.record(5, &gap(1, 100, GapState::Detected));
        gaps.record(9, &gap(2, 300, GapState::Recovering));
        gaps.record(20, &gap(1, 100, GapState::Backfilled));
        let at = |cursor| gaps.low_watermark(cursor, UnixMillis(1_000)).0;
        assert_eq!([at(5), at(6), at(10), at(20), at(21)], [1_000, 100, 100, 100, 300]);
        assert_eq!(gaps.low_watermark(6, UnixMillis(50)).0, 50);
        let open: Vec<_> = gaps.open_at(12, 0, 9).0.iter().map(|gap| (gap.id.0, gap.state)).collect();
        assert_eq!(open, [(1, GapState::Detected), (2, GapState::Recovering)]);
        gaps.record(25, &gap(2, 300, GapState::Recovering));
        let state = |cursor| gaps.open_at(cursor, 0, 9).0.pop().map(|gap| gap.state);
        assert_eq!(
            (state(25), state(26)),
            (Some(GapState::Recovering), Some(GapState::Recovering)),
            "as the record before announced it"
        );
        gaps.record(30, &gap(2, 300, GapState::Recovered));
        assert_eq!(at(31), 1_000);
        assert!(gaps.open_at(31, 0, 9).0.is_empty());
    }

    /// A session that begins between two records of a gap gets the bounds of the first: the parts of a gap that is
    /// divided later are not known yet.
    #[test]
    fn gap_has_bounds_of_its_cursor() {
        let record = |to: Option<i64>, state| Gap {
            window: TimeInterval { from: UnixMillis(100), to: to.map(UnixMillis) },
            ..gap(1, 0, state)
        };
        let gaps = GapIndex::new(10);
        let at = |cursor| gaps.open_at(cursor, 0, 9).0.pop().map(|gap| (gap.window.to.map(|to| to.0), gap.state));
        gaps.record(5, &record(None, GapState::Detected));
        gaps.record(7, &record(Some(900), GapState::Detected));
        gaps.record(9, &record(Some(200), GapState::Recovering));
        gaps.record(12, &record(Some(200), GapState::Recovered));
        let seen: Vec<_> = (5..=13).map(at).collect();
        let (open, whole) = (Some((None, GapState::Detected)), Some((Some(900), GapState::Detected)));
        let part = Some((Some(200), GapState::Recovering));
        assert_eq!(seen, [None, open, open, whole, whole, part, part, part, None]);
        for number in 0..100 {
            gaps.record(20 + number, &record(Some(1_000 - number as i64), GapState::Recovering));
        }
        assert_eq!(at(119), Some((Some(902), GapState::Recovering)));
        assert_eq!(at(40), Some((None, GapState::Detected)), "more than are kept: no narrower than any of them");
    }

    #[test]
    fn closed_gaps_are_evicted_oldest_first() {
        let gaps = GapIndex::new(3);
        gaps.record(1, &gap(1, 0, GapState::Detected));
        for id in 2..10 {
            gaps.record(id, &gap(id, 0, GapState::Unrecoverable));
        }
        assert_eq!(gaps.list().iter().map(|gap| gap.id.0).collect::<Vec<_>>(), [1, 8, 9]);
    }
}
