//! What outlives the process: a small file, written anew about once a second, and its place after a restart.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::book::{Book, Kept};
use super::healing::Healing;
use super::lane::{Hole, Lane};
use crate::model::{AccountName, Gap, GapCause, GapId, GapState, Span, UnixMillis, Window};

/// The form of the file.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Form {
    version: u32,
    kept: Kept,
}

/// What the file tells; `None` if there is none, or it is not to be read: then the log alone tells what is open.
pub(super) fn read(path: &Path, account: &AccountName) -> Option<Kept> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!(%account, path = %path.display(), %error, "the ledger of gaps cannot be read; the log tells what is open");
            return None;
        }
    };
    match serde_json::from_slice::<Form>(&bytes) {
        Ok(form) if form.version == VERSION => Some(form.kept),
        Ok(form) => {
            tracing::error!(%account, path = %path.display(), version = form.version, "the ledger of gaps is of another version; the log tells what is open");
            None
        }
        Err(error) => {
            tracing::error!(%account, path = %path.display(), %error, "the ledger of gaps is damaged; the log tells what is open");
            None
        }
    }
}

/// Writes it beside, and puts it in place in one step: whoever reads finds the old or the new.
pub(super) fn write(path: &Path, kept: &Kept) -> std::io::Result<()> {
    let form = Form { version: VERSION, kept: kept.clone() };
    let temporary = path.with_extension("new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(&form)?)?;
    file.sync_data()?;
    std::fs::rename(&temporary, path)
}

impl Book {
    /// Puts together what the file kept and what the log tells, and opens the hole of the time in which the gateway was
    /// not running.
    pub(super) fn restore(&mut self, logged: Vec<Gap>, newest: Option<UnixMillis>, lanes: usize, now: UnixMillis) {
        let dropped = self.kept.lanes.split_off(lanes.min(self.kept.lanes.len()));
        self.kept.lanes.resize_with(lanes, Lane::default);
        let dropped: Vec<Hole> = dropped.into_iter().filter_map(|lane| lane.hole).filter(|hole| hole.told).collect();
        let highest = logged.iter().map(|gap| gap.id.0).max().unwrap_or(0);
        self.kept.last_id = self.kept.last_id.max(highest);
        for gap in logged {
            if dropped.iter().any(|hole| hole.gap.id == gap.id) {
                continue;
            }
            self.restore_gap(gap);
        }
        if self.kept.lanes.iter().all(|lane| lane.last_byte.is_none()) {
            self.kept.lanes.iter_mut().for_each(|lane| lane.last_byte = newest);
        }
        for lane in 0..lanes {
            self.restore_lane(lane, now);
        }
        self.finish_proven();
        // Of flows that are not configured any more, what was missing is still missing.
        for hole in dropped {
            let span = Span::new(hole.gap.window.from, hole.gap.window.to.unwrap_or(now));
            let window = Window { from: span.from, to: Some(span.to) };
            self.heal(Gap { state: GapState::Recovering, window, ..hole.gap }, span);
        }
    }

    /// The log is the truth about the state and the bounds of a gap.
    fn restore_gap(&mut self, gap: Gap) {
        let id = gap.id;
        let lane = self.kept.lanes.iter().position(|lane| lane.hole.as_ref().is_some_and(|hole| hole.gap.id == id));
        match (gap.state, gap.window.to) {
            (state, _) if state.is_final() => {
                self.kept.healing.remove(&id);
                self.drop_hole(lane);
            }
            (GapState::Recovering, Some(to)) => {
                self.drop_hole(lane);
                let span = Span::new(gap.window.from, to);
                let known = self.kept.healing.remove(&id);
                let demanded = known.as_ref().map_or(self.demands, |known| known.demanded);
                let missing = known.map_or_else(|| [span].into_iter().collect(), |known| known.missing.within(span));
                self.kept.healing.insert(id, Healing { gap, missing, demanded });
            }
            _ if lane.is_some() => {}
            // Opened, and the process was gone before the file knew.
            _ => {
                let free = self.kept.lanes.iter_mut().find(|lane| lane.hole.is_none());
                if let Some(lane) = free {
                    let trusted = gap.cause != GapCause::SlowReader;
                    let promised = gap.window.from;
                    lane.hole = Some(Hole { gap, told: true, promised, trusted, backfill: None });
                }
            }
        }
    }

    fn drop_hole(&mut self, lane: Option<usize>) {
        if let Some(lane) = lane {
            self.kept.lanes[lane].hole = None;
        }
    }

    fn restore_lane(&mut self, lane: usize, now: UnixMillis) {
        let (slack, lag_max) = (self.limits.slack, self.limits.config.lag_max);
        let own = &self.kept.lanes[lane];
        if own.last_byte.is_some() && own.hole.as_ref().is_some_and(|hole| !hole.told) {
            self.distrust(lane);
            self.kept.lanes[lane].hole = None;
        }
        let own = &mut self.kept.lanes[lane];
        let margin = own.margin(slack, lag_max);
        match (&mut own.hole, own.last_byte) {
            (Some(hole), _) if hole.told => {
                hole.gap.window.to = None;
                hole.gap.state = GapState::Detected;
            }
            (None, Some(last_byte)) => {
                let promised = last_byte.minus(margin);
                let gap = self.new_gap(Window { from: promised, to: None }, GapCause::GatewayDown);
                self.kept.lanes[lane].hole = Some(Hole { gap, told: true, promised, trusted: true, backfill: None });
            }
            (Some(_), _) | (None, None) => {
                let window = Window { from: now, to: None };
                let gap = Book::gap(GapId(0), window, GapCause::GatewayDown);
                self.kept.lanes[lane].hole =
                    Some(Hole { gap, told: false, promised: now, trusted: true, backfill: None });
            }
        }
        self.log_hole(lane);
    }

    /// All of it was proven, and the process was gone before the log said so.
    fn finish_proven(&mut self) {
        let proven: Vec<GapId> =
            self.kept.healing.iter().filter(|(_, own)| own.missing.is_empty()).map(|(id, _)| *id).collect();
        for id in proven {
            let healing = self.kept.healing.remove(&id).expect("just seen");
            let progress = healing.gap.window.to;
            self.log(Gap { state: GapState::Recovered, progress, ..healing.gap });
        }
    }
}
