use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::DedupError;
use super::block::IdEntry;
use super::id_file::IdFile;
use super::index::DedupIndex;
use crate::journal::{ReadError, ReadItem, Reader};
use crate::model::{KeyFilter, PostId};

/// An unreadable block, with the range of ids that it covers.
type DamagedBlock = (usize, RangeInclusive<PostId>);

/// Bytes of one read of the journal.
const CHUNK_BYTES: usize = 1 << 20;

impl DedupIndex {
    /// Rebuilds a file with unreadable blocks. Their ids are restored from the journal, as far as it retains the
    /// records; `why` is the error that was found. The caller then repeats its lookup.
    ///
    /// A file with more such blocks than `rebuilt_blocks_max` (which bounds the memory for their ids), or whose disk
    /// returns other bytes than were written, is quarantined, and the error returned. The next start stages all its
    /// records again.
    pub(super) fn rebuild(&self, file: &Arc<IdFile>, why: DedupError) -> Result<(), DedupError> {
        let (true, Some(reader)) = (why.is_damage(), self.records.get()) else { return Err(why) };
        // One rebuild at a time: a second caller that met the same damage finds the file replaced.
        let _turn = self.rebuilding.lock();
        if !self.levels().files.iter().any(|other| Arc::ptr_eq(other, file)) {
            return Ok(());
        }
        let broken = file.broken_blocks()?;
        let path = file.source().path();
        if broken.len() > self.config.rebuilt_blocks_max {
            tracing::error!(path = %path.display(), blocks = broken.len(), "quarantined corrupt id file");
            self.store.quarantine(file)?;
            return Err(why);
        }
        let coverage = file.trailer().coverage;
        let found = recorded(&**reader, file, &broken)?;
        let entries = file.entries_with(&broken, &found);
        let rebuilt = Arc::new(self.store.write(coverage, entries)?);
        if !rebuilt.broken_blocks()?.is_empty() {
            self.store.remove(&rebuilt)?;
            self.store.quarantine(file)?;
            return Err(why);
        }
        let lost = file.trailer().ids.saturating_sub(rebuilt.trailer().ids);
        tracing::error!(
            path = %path.display(), error = %why, blocks = broken.len(), ids_found = found.len(), ids_lost = lost,
            "rebuilt corrupt id file from journal, posts of lost ids may be delivered twice",
        );
        self.metrics.rebuilt_files.inc();
        self.metrics.lost_ids.inc_by(lost);
        self.change(|levels| {
            levels.without(std::slice::from_ref(file));
            levels.insert(rebuilt.clone());
        });
        self.store.remove(file)
    }
}

/// Reads the entries for the ids of broken blocks from the journal.
fn recorded(
    reader: &dyn Reader,
    file: &IdFile,
    broken: &[DamagedBlock],
) -> Result<BTreeMap<PostId, IdEntry>, DedupError> {
    let coverage = file.trailer().coverage;
    let mut found = BTreeMap::new();
    let mut cursor = coverage.first.max(reader.extent().earliest);
    while cursor <= coverage.last && cursor < reader.extent().next {
        let chunk = match reader.read(cursor, &KeyFilter::Always, CHUNK_BYTES) {
            Ok(chunk) => chunk,
            // Trimmed meanwhile: the rest of the journal begins later.
            Err(ReadError::Trimmed { earliest }) => {
                cursor = earliest;
                continue;
            }
            Err(source) => return Err(DedupError::Records { path: file.source().path(), source: Arc::new(source) }),
        };
        for item in chunk.items {
            if let ReadItem::Record(record) = item
                && record.sequence <= coverage.last
                && let Some(post) = record.body.post()
                && broken.iter().any(|(_, ids)| ids.contains(&post.id))
            {
                let entry = IdEntry { id: post.id, rules: post.rules.clone(), sequence: record.sequence };
                found.insert(post.id, entry);
            }
        }
        cursor = chunk.next;
    }
    Ok(found)
}

impl IdFile {
    fn broken_blocks(&self) -> Result<Vec<DamagedBlock>, DedupError> {
        let mut broken = Vec::new();
        for at in 0..self.blocks() {
            match self.decoded(at) {
                Ok(_) => {}
                Err(error) if error.is_damage() => broken.push((at, self.ids_of(at))),
                Err(error) => return Err(error),
            }
        }
        Ok(broken)
    }

    /// Returns all entries in the order of ids, those of broken blocks from `found`.
    fn entries_with<'a>(
        &'a self,
        broken: &'a [DamagedBlock],
        found: &'a BTreeMap<PostId, IdEntry>,
    ) -> impl Iterator<Item = Result<IdEntry, DedupError>> + 'a {
        (0..self.blocks()).flat_map(move |at| {
            let block: Vec<Result<IdEntry, DedupError>> = match broken.iter().find(|(number, _)| *number == at) {
                Some((_, ids)) => found.range(ids.clone()).map(|(_, entry)| Ok(entry.clone())).collect(),
                None => match self.decoded(at) {
                    Ok(entries) => entries.into_iter().map(Ok).collect(),
                    Err(error) => vec![Err(error)],
                },
            };
            block
        })
    }
}

#[cfg(test)]
mod tests;
