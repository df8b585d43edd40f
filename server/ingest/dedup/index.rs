use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use super::id_file::IdFile;
use super::memtable::MemTable;
use super::store::Store;
use super::trailer::IdCoverage;
use super::{Config, DedupError, KnownPost, Metrics, store};
use crate::journal::Reader;
use crate::model::{Epoch, PostId, Rule, Sequence, UnixMillis};

/// Index of the appended post ids of an account, shared by all readers.
pub struct DedupIndex {
    pub(super) config: Config,
    pub(super) epoch: Epoch,
    pub(super) metrics: Metrics,
    pub(super) store: Store,
    /// The log of the ids, for the repair of a damaged file.
    pub(super) records: OnceLock<Arc<dyn Reader>>,
    pub(super) rebuilding: Mutex<()>,
    hot: RwLock<MemTable>,
    levels: ArcSwap<IdFileSet>,
}

/// All ids except those of the active memtable. A lookup searches the memtable first and takes a snapshot of this set
/// afterwards: ids that leave the memtable are added here before they are removed there.
#[derive(Clone, Default)]
pub(super) struct IdFileSet {
    /// Frozen memtables that wait to be flushed, oldest first.
    pub(super) frozen: Vec<Arc<MemTable>>,
    /// Files by last covered sequence, oldest first.
    pub(super) files: Vec<Arc<IdFile>>,
    /// First sequences of quarantined files.
    pub(super) lost: Vec<Sequence>,
}

/// An appended post on its way to the memtable.
pub(super) struct DedupEntry {
    pub(super) id: PostId,
    pub(super) rules: Arc<[Rule]>,
    pub(super) sequence: Sequence,
    pub(super) received: UnixMillis,
}

impl IdFileSet {
    pub(super) fn covered(&self) -> Sequence {
        store::covered(self.files.iter().map(|file| file.trailer().coverage), &self.lost)
    }

    pub(super) fn insert(&mut self, file: Arc<IdFile>) {
        let key = |file: &Arc<IdFile>| -> IdCoverage { file.trailer().coverage };
        self.files.push(file);
        self.files.sort_by_key(|file| (key(file).last, key(file).complete));
    }

    pub(super) fn without(&mut self, gone: &[Arc<IdFile>]) {
        self.files.retain(|file| !gone.iter().any(|gone| Arc::ptr_eq(gone, file)));
    }
}

impl DedupIndex {
    pub(super) fn new(config: &Config, epoch: Epoch, metrics: Metrics, store: Store, levels: IdFileSet) -> Self {
        let hot = RwLock::new(MemTable::new(levels.covered() + 1, 0));
        let (records, rebuilding) = (OnceLock::new(), Mutex::new(()));
        let config = config.clone();
        let index = Self { config, epoch, metrics, store, records, rebuilding, hot, levels: ArcSwap::default() };
        index.levels.store(Arc::new(levels));
        index
    }

    /// Finds the entry of a post. It may read a file and must run on a blocking thread.
    pub fn find(&self, id: PostId) -> Result<Option<KnownPost>, DedupError> {
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
                // The next attempt finds another file, or none.
                Err((file, error)) => self.rebuild(file, error)?,
            }
        }
    }

    fn find_in<'a>(
        &self,
        files: &'a [Arc<IdFile>],
        id: PostId,
    ) -> Result<Option<KnownPost>, (&'a Arc<IdFile>, DedupError)> {
        for file in files.iter().rev() {
            if let Some(known) = file.find(id, &self.metrics).map_err(|error| (file, error))? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    /// Returns the number of ids in memory that are in no file yet.
    pub fn unsealed_ids(&self) -> u64 {
        let hot = self.hot.read().len();
        let frozen = self.levels.load().frozen.iter().map(|hot| hot.len()).sum::<usize>();
        (hot + frozen) as u64
    }

    /// Returns the metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn levels(&self) -> Arc<IdFileSet> {
        self.levels.load_full()
    }

    pub(super) fn change(&self, change: impl Fn(&mut IdFileSet)) {
        self.levels.rcu(|levels| {
            let mut levels = IdFileSet::clone(levels);
            change(&mut levels);
            levels
        });
    }

    /// Inserts appended entries, in the order of sequences.
    pub(super) fn insert_all(&self, notes: impl Iterator<Item = DedupEntry>) {
        let mut hot = self.hot.write();
        for DedupEntry { id, rules, sequence, received } in notes {
            let full = hot.len() as u64 >= self.config.memtable_ids_max
                || hot.sets_bytes() as u64 >= self.config.memtable_rules_bytes_max
                || !hot.covers(sequence);
            if full {
                self.rotate(&mut hot);
            }
            hot.insert(id, &rules, sequence, received);
        }
        self.metrics.unsealed_ids.set(hot.len() as i64);
    }

    /// Freezes the memtable if it contains records before this sequence.
    pub(super) fn rotate_if_due(&self, before: Sequence) {
        let mut hot = self.hot.write();
        if hot.first < before {
            self.rotate(&mut hot);
        }
    }

    /// Drops ids that are in no file: they are staged again from `covered` on.
    pub(super) fn drop_memtables(&self) {
        let mut hot = self.hot.write();
        self.change(|levels| levels.frozen.clear());
        *hot = MemTable::new(self.levels.load().covered() + 1, 0);
    }

    fn rotate(&self, hot: &mut MemTable) {
        if hot.len() == 0 {
            return;
        }
        // Same capacity as the previous one: growing a large table would stall the writer.
        let next = MemTable::new(hot.last + 1, hot.len());
        let full = Arc::new(std::mem::replace(hot, next));
        self.change(|levels| levels.frozen.push(full.clone()));
    }
}
