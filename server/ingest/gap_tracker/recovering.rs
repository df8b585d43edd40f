//! Gaps left to recovery: gaps with an end, and the states of their parts.

use super::recovering_gap::{GapPart, RecoveringGap};
use super::state_machine::{GapStateMachine, RecoverySource};
use crate::model::{Gap, GapCause, GapEvidence, GapId, GapState, TimeInterval, TimeRange, TimeRangeSet};

impl GapStateMachine {
    /// Returns the ranges that recovery has to fetch.
    pub(super) fn missing(&self) -> TimeRangeSet {
        let mut missing = TimeRangeSet::default();
        self.kept.healing.values().for_each(|healing| missing.insert_all(&healing.missing));
        missing
    }

    /// Returns posts per second of the account; 0 if the rate is unknown.
    pub(super) fn rate(&self) -> f64 {
        self.kept.feeds.iter().map(|feed| feed.rate.per_second()).sum()
    }

    /// True if fewer than `due_min` posts were expected in this span at the rate before the gap, or if the rate is
    /// unknown.
    pub(super) fn is_plausibly_empty(&self, span: TimeRange) -> bool {
        let touched = self.kept.healing.values().filter(|healing| !healing.span().intersection(span).is_empty());
        let before = touched.map(|healing| healing.rate).reduce(f64::max).filter(|rate| *rate > 0.0);
        let rate = before.unwrap_or_else(|| self.rate());
        rate * span.to.since(span.from).as_secs_f64() < f64::from(self.limits.config.due_min)
    }

    /// Returns the first of these gaps that posts from this source help to close.
    pub(super) fn healed_by(&self, by: RecoverySource, mut of: impl Iterator<Item = GapId>) -> Option<GapId> {
        let waiting = |connection| {
            let feeds = self.kept.feeds.iter().filter(move |feed| feed.connections.contains_key(&connection));
            feeds.flat_map(|feed| &feed.gaps).map(|own| own.gap.id)
        };
        match by {
            RecoverySource::Backfill { connection } => of.find(|id| waiting(connection).any(|own| own == *id)),
            RecoverySource::Recovery => of.find(|id| self.kept.healing.contains_key(id)),
        }
    }

    pub(super) fn mark_recovered(&mut self, span: TimeRange, evidence: GapEvidence, stamp: u64) {
        let mut changed = Vec::new();
        for healing in self.kept.healing.values_mut() {
            if healing.mark_recovered(span, evidence, stamp) {
                changed.push(healing.gap.clone());
            }
        }
        self.kept.healing.retain(|_, healing| !healing.missing.is_empty());
        changed.into_iter().filter(|gap| gap.state.is_final()).for_each(|gap| self.log(gap));
    }

    /// Turns time that cannot be recovered into a gap of its own, with exact bounds.
    pub(super) fn mark_unrecoverable(&mut self, span: TimeRange, evidence: GapEvidence) {
        let hit: Vec<GapId> = self
            .kept
            .healing
            .iter()
            .filter(|(_, own)| !own.missing.within(span).is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in hit {
            let healing = self.kept.healing.remove(&id).expect("id was listed above");
            let lost = healing.missing.within(span);
            let (mut ids, first) = (Some(id), self.changes.len());
            for GapPart { span, lost: is_lost } in healing.split_by(&lost) {
                let missing = healing.missing.within(span);
                let state = match (is_lost, missing.is_empty()) {
                    (true, _) => GapState::Unrecoverable,
                    (false, true) => GapState::Recovered,
                    (false, false) => GapState::Recovering,
                };
                let mut gap = self.split_gap(&healing.gap, &mut ids, span, state);
                gap.progress = missing.first().map(|first| first.from).filter(|from| *from > span.from);
                match state {
                    GapState::Unrecoverable => self.log(Gap { evidence, progress: None, ..gap }),
                    GapState::Recovered => self.log(Gap { progress: Some(span.to), ..gap }),
                    _ => {
                        self.log(gap.clone());
                        self.kept.healing.insert(gap.id, RecoveringGap { gap, missing, ..healing.clone() });
                    }
                }
            }
            self.log_whole_last(first);
        }
        self.demands += 1;
    }

    /// Reorders the changes from index `first` on, which divide a gap: the change of the gap itself is logged last. The
    /// gap stays whole until its other parts are announced, so that no position between these records lets the low
    /// watermark pass any of them.
    pub(super) fn log_whole_last(&mut self, first: usize) {
        if let Some(parts) = self.changes.get_mut(first..).filter(|parts| parts.len() > 1) {
            parts.rotate_left(1);
        }
    }

    /// Creates the gap for a part of a gap. The first part keeps the id, so that sessions see their gap change.
    pub(super) fn split_gap(&mut self, gap: &Gap, id: &mut Option<GapId>, span: TimeRange, state: GapState) -> Gap {
        let id = id.take().unwrap_or_else(|| self.next_id());
        let window = TimeInterval { from: span.from, to: Some(span.to) };
        Gap { id, window, state, progress: None, ..gap.clone() }
    }

    pub(super) fn new_gap(&mut self, window: TimeInterval, cause: GapCause) -> Gap {
        Self::gap(self.next_id(), window, cause)
    }

    pub(super) fn gap(id: GapId, window: TimeInterval, cause: GapCause) -> Gap {
        let (state, evidence) = (GapState::Detected, GapEvidence::None);
        Gap { id, window, cause, state, evidence, progress: None, recovered: 0 }
    }

    pub(super) fn next_id(&mut self) -> GapId {
        self.kept.last_id += 1;
        GapId(self.kept.last_id)
    }

    /// Leaves a gap to recovery; `rate` is the rate of the account before it.
    pub(super) fn start_recovery(&mut self, gap: Gap, span: TimeRange, rate: f64) {
        self.log(gap.clone());
        self.demands += 1;
        self.kept.tail.open(span, self.time);
        self.kept.healing.insert(gap.id, RecoveringGap::new(gap, span, rate, self.demands));
    }

    /// Closes gaps that were fully proven when the process ended before logging it.
    pub(super) fn finish_proven(&mut self) {
        let proven: Vec<GapId> =
            self.kept.healing.iter().filter(|(_, own)| own.missing.is_empty()).map(|(id, _)| *id).collect();
        for id in proven {
            let healing = self.kept.healing.remove(&id).expect("id was listed above");
            let progress = healing.gap.window.to;
            self.log(Gap { state: GapState::Recovered, progress, ..healing.gap });
        }
    }
}
