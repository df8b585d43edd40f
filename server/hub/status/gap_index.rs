//! What sessions know of gaps, out of the GAP records of the log.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::model::{Gap, GapEvidence, GapState, Sequence, TimeInterval, UnixMillis};

/// The gaps that the log tells of, as they stand, and the records between which each was open.
pub struct GapIndex {
    told: RwLock<Vec<GapHistory>>,
    /// No gap is open at a cursor beyond this; `u64::MAX` while one is open at the tip.
    open_until: AtomicU64,
    kept_max: usize,
}

struct GapHistory {
    gap: Gap,
    opened: Sequence,
    /// The last record of it.
    changed: Sequence,
    closed: Option<Sequence>,
    /// What the records before the last one announced, oldest first, each with its sequence.
    earlier: Vec<(Sequence, Gap)>,
}

/// Earlier records of a gap that are kept; of more, the oldest are merged.
const EARLIER_MAX: usize = 8;

impl GapHistory {
    /// True if the gap is open for a cursor that reads this record next.
    fn is_open_at(&self, cursor: Sequence) -> bool {
        self.opened < cursor && self.closed.is_none_or(|closed| cursor <= closed)
    }

    /// Replaces the gap by what a further record announces.
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
        // The records that announced it until then are trimmed.
        let first = self.earlier.first().map_or(&self.gap, |(_, gap)| gap);
        let (state, evidence) = (GapState::Detected, GapEvidence::None);
        Gap { state, evidence, progress: None, recovered: 0, ..first.clone() }
    }
}

impl GapIndex {
    /// No gap is known; of ended ones `kept_max` are kept.
    pub fn new(kept_max: usize) -> Self {
        Self { told: RwLock::default(), open_until: AtomicU64::new(0), kept_max }
    }

    /// Takes note of a GAP record; in order.
    pub fn record(&self, sequence: Sequence, gap: &Gap) {
        self.note_opened(sequence, gap, sequence);
    }

    /// Takes note of a GAP record; in order. If it is the first that is known of its gap, that was opened by `opened`, which
    /// may be trimmed.
    pub fn note_opened(&self, sequence: Sequence, gap: &Gap, opened: Sequence) {
        let mut told = self.told.write();
        let closed = gap.state.is_final().then_some(sequence);
        match told.iter_mut().find(|own| own.gap.id == gap.id) {
            Some(own) => own.change(sequence, gap),
            None => {
                let at = told.partition_point(|own| own.opened <= opened);
                told.insert(
                    at,
                    GapHistory { gap: gap.clone(), opened, changed: sequence, closed, earlier: Vec::new() },
                );
            }
        }
        if told.len() > self.kept_max
            && let Some(oldest) = told.iter().position(|own| own.closed.is_some())
        {
            told.remove(oldest);
        }
        let open_until = told.iter().map(|own| own.closed.unwrap_or(u64::MAX)).max().unwrap_or(0);
        self.open_until.store(open_until, Ordering::Release);
    }

    /// The gaps that are open for a cursor that reads `cursor` next, at most `max` of those that were opened after the record
    /// `after`; and which record opened the last of them, if there are more. Bounds and states are those of the records
    /// before `cursor`: a gap that is divided there is whole, for its other parts are not open yet.
    pub fn open_at(&self, cursor: Sequence, after: Sequence, max: usize) -> (Vec<Gap>, Option<Sequence>) {
        if cursor > self.open_until.load(Ordering::Acquire) {
            return (Vec::new(), None);
        }
        let told = self.told.read();
        // In the order of the records that opened them.
        let begin = told.partition_point(|own| own.opened <= after);
        let mut open = told[begin..].iter().filter(|own| own.is_open_at(cursor)).peekable();
        let (mut gaps, mut last) = (Vec::new(), None);
        while gaps.len() < max
            && let Some(own) = open.next()
        {
            (last, _) = (Some(own.opened), gaps.push(own.as_of(cursor)));
        }
        (gaps, last.filter(|_| open.peek().is_some()))
    }

    /// The gaps whose last record is one of [`from`, `to`).
    pub fn changed_in(&self, from: Sequence, to: Sequence) -> Vec<Gap> {
        let told = self.told.read();
        told.iter().filter(|own| (from..to).contains(&own.changed)).map(|own| own.gap.clone()).collect()
    }

    /// The low watermark of a cursor that has reached this time: no later than the start of a gap that is open there.
    pub fn low_watermark(&self, cursor: Sequence, reached: UnixMillis) -> UnixMillis {
        if cursor > self.open_until.load(Ordering::Acquire) {
            return reached;
        }
        let told = self.told.read();
        let open = told.iter().filter(|own| own.is_open_at(cursor)).map(|own| own.gap.window.from);
        open.min().map_or(reached, |from| from.min(reached))
    }

    /// All gaps known, oldest first.
    pub fn list(&self) -> Vec<Gap> {
        self.told.read().iter().map(|own| own.gap.clone()).collect()
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

    /// A session that begins between two records of a gap is told the bounds of the first of them: the rest of a gap that is
    /// divided later is not open yet.
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
        let told: Vec<_> = (5..=13).map(at).collect();
        let (open, whole) = (Some((None, GapState::Detected)), Some((Some(900), GapState::Detected)));
        let part = Some((Some(200), GapState::Recovering));
        assert_eq!(told, [None, open, open, whole, whole, part, part, part, None]);
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
