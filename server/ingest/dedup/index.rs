use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use super::id_file::Sealed;
use super::memtable::Hot;
use super::store::Store;
use super::trailer::Coverage;
use super::{Config, Error, Known, Metrics, store};
use crate::journal::Reader;
use crate::model::{Epoch, PostId, Rule, Sequence, UnixMillis};

/// The ids of an account that were appended, for everybody who wants to know of one.
pub struct Index {
    pub(super) config: Config,
    pub(super) epoch: Epoch,
    pub(super) metrics: Metrics,
    pub(super) store: Store,
    /// The log that the ids are of, for a file that is damaged.
    pub(super) records: OnceLock<Arc<dyn Reader>>,
    pub(super) rebuilding: Mutex<()>,
    hot: RwLock<Hot>,
    levels: ArcSwap<Levels>,
}

/// Everything but the table that grows. A look-up takes one snapshot of it, after it has looked there: what leaves the
/// table is here before it is gone there.
#[derive(Clone, Default)]
pub(super) struct Levels {
    /// Generations that wait for their file, oldest first.
    pub(super) frozen: Vec<Arc<Hot>>,
    /// Files by the last sequence they cover, oldest first.
    pub(super) files: Vec<Arc<Sealed>>,
    /// First sequences of files that were set aside.
    pub(super) lost: Vec<Sequence>,
}

/// An appended post, on its way to the table.
pub(super) struct Note {
    pub(super) id: PostId,
    pub(super) rules: Arc<[Rule]>,
    pub(super) sequence: Sequence,
    pub(super) received: UnixMillis,
}

impl Levels {
    pub(super) fn covered(&self) -> Sequence {
        store::covered(self.files.iter().map(|file| file.trailer().coverage), &self.lost)
    }

    pub(super) fn insert(&mut self, file: Arc<Sealed>) {
        let key = |file: &Arc<Sealed>| -> Coverage { file.trailer().coverage };
        self.files.push(file);
        self.files.sort_by_key(|file| (key(file).last, key(file).complete));
    }

    pub(super) fn without(&mut self, gone: &[Arc<Sealed>]) {
        self.files.retain(|file| !gone.iter().any(|gone| Arc::ptr_eq(gone, file)));
    }
}

impl Index {
    pub(super) fn new(config: &Config, epoch: Epoch, metrics: Metrics, store: Store, levels: Levels) -> Self {
        let hot = RwLock::new(Hot::new(levels.covered() + 1, 0));
        let (records, rebuilding) = (OnceLock::new(), Mutex::new(()));
        let config = config.clone();
        let index = Self { config, epoch, metrics, store, records, rebuilding, hot, levels: ArcSwap::default() };
        index.levels.store(Arc::new(levels));
        index
    }

    /// What is known of a post; it may read a file, so it belongs on a blocking thread.
    pub fn find(&self, id: PostId) -> Result<Option<Known>, Error> {
        if let Some(known) = self.hot.read().find(id) {
            return Ok(Some(known));
        }
        loop {
            let levels = self.levels.load();
            if let Some(known) = levels.frozen.iter().rev().find_map(|hot| hot.find(id)) {
                return Ok(Some(known));
            }
            match self.find_in(&levels.files, id) {
                Ok(known) => return Ok(known),
                // What it meets next is another file, or none.
                Err((file, error)) => self.rebuild(file, error)?,
            }
        }
    }

    fn find_in<'a>(&self, files: &'a [Arc<Sealed>], id: PostId) -> Result<Option<Known>, (&'a Arc<Sealed>, Error)> {
        for file in files.iter().rev() {
            if let Some(known) = file.find(id, &self.metrics).map_err(|error| (file, error))? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    /// Ids in memory that are in no file yet.
    pub fn unsealed_ids(&self) -> u64 {
        let hot = self.hot.read().len();
        let frozen = self.levels.load().frozen.iter().map(|hot| hot.len()).sum::<usize>();
        (hot + frozen) as u64
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn levels(&self) -> Arc<Levels> {
        self.levels.load_full()
    }

    pub(super) fn change(&self, change: impl Fn(&mut Levels)) {
        self.levels.rcu(|levels| {
            let mut levels = Levels::clone(levels);
            change(&mut levels);
            levels
        });
    }

    /// Takes what was appended, in the order of sequences.
    pub(super) fn take(&self, notes: impl Iterator<Item = Note>) {
        let mut hot = self.hot.write();
        for Note { id, rules, sequence, received } in notes {
            let full = hot.len() as u64 >= self.config.hot_ids_max
                || hot.sets_bytes() as u64 >= self.config.hot_rules_bytes_max
                || !hot.reaches(sequence);
            if full {
                self.freeze(&mut hot);
            }
            hot.insert(id, &rules, sequence, received);
        }
        self.metrics.unsealed_ids.set(hot.len() as i64);
    }

    /// Freezes the table if it reaches back to before this sequence.
    pub(super) fn freeze_if_due(&self, before: Sequence) {
        let mut hot = self.hot.write();
        if hot.first < before {
            self.freeze(&mut hot);
        }
    }

    /// Forgets what is in no file: it is noted again from `covered` on.
    pub(super) fn drop_unsealed(&self) {
        let mut hot = self.hot.write();
        self.change(|levels| levels.frozen.clear());
        *hot = Hot::new(self.levels.load().covered() + 1, 0);
    }

    fn freeze(&self, hot: &mut Hot) {
        if hot.len() == 0 {
            return;
        }
        // Room as for the one before: growing a large table would hold up the writer.
        let next = Hot::new(hot.last + 1, hot.len());
        let full = Arc::new(std::mem::replace(hot, next));
        self.change(|levels| levels.frozen.push(full.clone()));
    }
}
