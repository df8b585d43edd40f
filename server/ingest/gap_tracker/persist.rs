//! The checkpoint: a small file, written anew about once a second, that outlives the process.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::connection::HighWatermark;
use super::correction_log::CorrectionLog;
use super::feed::{Feed, FeedGap};
use super::limits::TrackerLimits;
use super::rate::PostRate;
use super::recovering_gap::RecoveringGap;
use super::state_machine::PersistedState;
use super::tail::LostTail;
use crate::hub::side_log::{self, Completeness};
use crate::model::{AccountName, Gap, GapId, UnixMillis};
use crate::state_file;

/// The form of the file.
const VERSION: u32 = 2;

#[derive(Deserialize)]
struct FileVersion {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct TrackerFile<K> {
    version: u32,
    kept: K,
}

/// Form 1: feeds were known by their place in the list, and redundant connections had one progress.
#[derive(Deserialize)]
struct KeptByPlace {
    last_id: u64,
    lanes: Vec<FeedByPlace>,
    healing: BTreeMap<GapId, RecoveringGap>,
    brought: BTreeMap<GapId, u64>,
    origin: Option<Completeness>,
    side: side_log::SideLogSnapshot,
    clock_offset_ms: i64,
}

#[derive(Deserialize)]
struct FeedByPlace {
    last_byte: Option<UnixMillis>,
    newest: Option<HighWatermark>,
    rate: PostRate,
    hole: Option<GapByPlace>,
}

#[derive(Deserialize)]
struct GapByPlace {
    gap: Gap,
    told: bool,
    promised: UnixMillis,
    trusted: bool,
}

/// Returns the content of the file; `None` if there is none, or it cannot be read: then the log alone tells what is open.
pub(super) fn read(path: &Path, account: &AccountName, limits: &TrackerLimits) -> Option<PersistedState> {
    let bytes = match state_file::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!(%account, path = %path.display(), %error, "the ledger of gaps cannot be read; the log tells what is open");
            return None;
        }
    };
    let kept = serde_json::from_slice::<FileVersion>(&bytes).and_then(|FileVersion { version }| match version {
        1 => serde_json::from_slice::<TrackerFile<KeptByPlace>>(&bytes).map(|form| Some(form.kept.named(limits))),
        VERSION => serde_json::from_slice::<TrackerFile<PersistedState>>(&bytes).map(|form| Some(form.kept)),
        _ => {
            tracing::error!(%account, path = %path.display(), version, "the ledger of gaps is of another version; the log tells what is open");
            Ok(None)
        }
    });
    kept.unwrap_or_else(|error| {
        tracing::error!(%account, path = %path.display(), %error, "the ledger of gaps is damaged; the log tells what is open");
        None
    })
}

/// Writes a new file and renames it: a reader finds the old one or the new one.
pub(super) fn write(path: &Path, kept: &PersistedState) -> std::io::Result<()> {
    let form = TrackerFile { version: VERSION, kept };
    state_file::write_atomic(path, &serde_json::to_vec(&form)?)
}

impl KeptByPlace {
    /// As feeds whose names are not known: each may have carried any post.
    fn named(self, limits: &TrackerLimits) -> PersistedState {
        let Self { last_id, lanes, healing, brought, origin, side, clock_offset_ms } = self;
        let feeds = lanes.into_iter().map(|lane| lane.named(origin, limits)).collect();
        let (epoch, journal_next, late) = (String::new(), 0, Duration::ZERO);
        PersistedState {
            last_id,
            feeds,
            healing,
            brought,
            tail: LostTail::default(),
            late,
            scale: CorrectionLog::default(),
            side,
            clock_offset_ms,
            epoch,
            journal_next,
        }
    }
}

impl FeedByPlace {
    fn named(self, origin: Option<Completeness>, limits: &TrackerLimits) -> Feed {
        let Self { last_byte, newest, rate, hole } = self;
        let lag = newest
            .map_or(limits.allowed_lateness, |newest| newest.lag.min(limits.lag_max()).max(limits.allowed_lateness));
        let open = hole.as_ref().filter(|hole| hole.gap.window.to.is_none()).map(|hole| hole.gap.window.from);
        // Without either nothing came, and nothing is missing yet.
        let settled_to = open.or(last_byte.map(|last| last.minus(lag))).unwrap_or_default();
        let gaps = hole.map(|GapByPlace { gap, told, promised, trusted }| FeedGap {
            gap,
            announced: told,
            promised,
            trusted,
            rate: rate.per_second(),
            backfill: None,
        });
        let (began, gaps) = (last_byte.is_some(), gaps.into_iter().collect());
        Feed {
            began,
            newest: newest.map(|newest| newest.created),
            lag: newest,
            rate,
            gaps,
            origin,
            ..Feed::new("", settled_to)
        }
    }
}
