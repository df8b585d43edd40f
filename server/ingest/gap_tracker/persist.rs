//! The checkpoint: a small file that survives the process, written within about a second of a change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::connection::HighWatermark;
use super::correction_log::CorrectionLog;
use super::feed::{Feed, FeedGap};
use super::limits::TrackerLimits;
use super::rate::PostRate;
use super::recovering_gap::RecoveringGap;
use super::state_machine::PersistedState;
use super::tail::ReopenedTail;
use crate::hub::Hub;
use crate::hub::side_log::{self, Completeness};
use crate::model::{AccountName, Gap, GapId, UnixMillis};
use crate::state_file;

/// Version of the file format.
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

/// Version 1: feeds were identified by their index, and redundant connections shared one progress.
#[derive(Deserialize)]
struct KeptByPlace {
    last_id: u64,
    #[serde(rename = "lanes")]
    feeds: Vec<FeedByPlace>,
    healing: BTreeMap<GapId, RecoveringGap>,
    #[serde(rename = "brought")]
    recovered_posts: BTreeMap<GapId, u64>,
    origin: Option<Completeness>,
    side: side_log::SideLogSnapshot,
    clock_offset_ms: i64,
}

#[derive(Deserialize)]
struct FeedByPlace {
    last_byte: Option<UnixMillis>,
    newest: Option<HighWatermark>,
    rate: PostRate,
    #[serde(rename = "hole")]
    gap: Option<GapByPlace>,
}

#[derive(Deserialize)]
struct GapByPlace {
    gap: Gap,
    #[serde(rename = "told")]
    announced: bool,
    promised: UnixMillis,
    trusted: bool,
}

/// Reads the checkpoint. Returns `None` if it does not exist or cannot be read: then only the log determines open gaps.
pub(super) fn read(path: &Path, account: &AccountName, limits: &TrackerLimits) -> Option<PersistedState> {
    let bytes = match state_file::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!(%account, path = %path.display(), %error, "failed to read gap checkpoint, restoring gaps from the log");
            return None;
        }
    };
    decode(&bytes, path, account, limits)
}

/// Decodes the content of a checkpoint. Returns `None` like [`read`].
pub(super) fn decode(
    bytes: &[u8],
    path: &Path,
    account: &AccountName,
    limits: &TrackerLimits,
) -> Option<PersistedState> {
    let kept = serde_json::from_slice::<FileVersion>(bytes).and_then(|FileVersion { version }| match version {
        1 => serde_json::from_slice::<TrackerFile<KeptByPlace>>(bytes).map(|form| Some(form.kept.named(limits))),
        VERSION => serde_json::from_slice::<TrackerFile<PersistedState>>(bytes).map(|form| Some(form.kept)),
        _ => {
            tracing::error!(%account, path = %path.display(), version, "unsupported version of gap checkpoint, restoring gaps from the log");
            Ok(None)
        }
    });
    kept.unwrap_or_else(|error| {
        tracing::error!(%account, path = %path.display(), %error, "gap checkpoint is corrupt, restoring gaps from the log");
        None
    })
}

/// Reads a checkpoint of the current version; `None` for another one.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<PersistedState>, serde_json::Error> {
    let FileVersion { version } = serde_json::from_slice(bytes)?;
    let read = || serde_json::from_slice::<TrackerFile<PersistedState>>(bytes).map(|form| form.kept);
    (version == VERSION).then(read).transpose()
}

/// Applies to the hub what the checkpoint has of it, except for the clock.
pub(super) fn apply(hub: &Hub, kept: &PersistedState) {
    hub.side().restore(kept.side.clone());
    hub.lateness().restore(kept.late);
}

/// Returns the checkpoint if it belongs to this log, else only the parts that are independent of the log.
pub(super) fn of_this_log(kept: PersistedState, hub: &Hub) -> PersistedState {
    let epoch = hub.reader().epoch().to_string();
    if kept.epoch.is_empty() || kept.epoch == epoch {
        return kept;
    }
    tracing::warn!(account = %hub.account(), checkpoint = kept.epoch, %epoch, "ignoring gap checkpoint of another log");
    let PersistedState { side, clock_offset_ms, .. } = kept;
    PersistedState { side, clock_offset_ms, ..PersistedState::default() }
}

/// Notes for sessions the gaps of the checkpoint whose records the log has trimmed: they are open at all its positions.
pub(super) fn note_trimmed_gaps(hub: &Hub, kept: &PersistedState, logged: &[Gap]) {
    let earliest = hub.reader().extent().earliest;
    if earliest <= 1 {
        return;
    }
    let trimmed = kept.announced_gaps().filter(|gap| logged.iter().all(|own| own.id != gap.id));
    for (gap, back) in trimmed.zip(1..) {
        let opened = earliest.saturating_sub(back).max(1);
        hub.gaps().note_opened(opened, gap, opened);
    }
}

/// Returns the content of the checkpoint of this state.
pub(super) fn encode(kept: &PersistedState) -> std::io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&TrackerFile { version: VERSION, kept })?)
}

/// The file that a process writes.
pub(super) struct Checkpoint {
    path: PathBuf,
    /// Content that this process wrote last.
    written: Mutex<Vec<u8>>,
}

impl Checkpoint {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, written: Mutex::default() }
    }

    /// Writes the file atomically: a reader finds the old one or the new one. An unchanged file that is still there is
    /// not written again, because each version costs two syncs. `state` is called when it is this caller's turn: an
    /// older state never replaces a newer one. Without a state the file stays as it is.
    pub(super) fn write(&self, state: impl FnOnce() -> Option<PersistedState>) -> std::io::Result<()> {
        let mut written = self.written.lock();
        let Some(state) = state() else { return Ok(()) };
        let bytes = encode(&state)?;
        let is_there = || std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_file());
        if *written == bytes && is_there() {
            return Ok(());
        }
        state_file::write_atomic(&self.path, &bytes)?;
        *written = bytes;
        Ok(())
    }
}

impl KeptByPlace {
    /// Converts the feeds to feeds without a name: each may have carried any post.
    fn named(self, limits: &TrackerLimits) -> PersistedState {
        let Self { last_id, feeds, healing, recovered_posts, origin, side, clock_offset_ms } = self;
        let feeds = feeds.into_iter().map(|feed| feed.named(origin, limits)).collect();
        let (epoch, journal_next, late) = (String::new(), 0, Duration::ZERO);
        PersistedState {
            last_id,
            feeds,
            healing,
            recovered_posts,
            tail: ReopenedTail::default(),
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
        let Self { last_byte, newest, rate, gap } = self;
        let lag = newest
            .map_or(limits.allowed_lateness, |newest| newest.lag.min(limits.lag_max()).max(limits.allowed_lateness));
        let open = gap.as_ref().filter(|own| own.gap.window.to.is_none()).map(|own| own.gap.window.from);
        // Without either nothing has arrived, and nothing is missing yet.
        let settled_to = open.or(last_byte.map(|last| last.minus(lag))).unwrap_or_default();
        let gaps = gap.map(|GapByPlace { gap, announced, promised, trusted }| FeedGap {
            gap,
            announced,
            promised,
            promised_now: false,
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
