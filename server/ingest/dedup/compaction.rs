use std::iter::Peekable;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::block::IdEntry;
use super::id_file::IdFile;
use super::trailer::IdCoverage;
use super::{DedupError, store};
use crate::model::UnixMillis;

/// Number of files compacted at once.
const WIDTH: usize = 4;

/// Properties of a file that matter for the choice of a compaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileStats {
    pub(super) ids: u64,
    pub(super) received_min: UnixMillis,
    pub(super) received_max: UnixMillis,
}

/// Returns the adjacent files to compact next; `None` if compaction would gain nothing.
///
/// It compacts four files at a time, none larger than the others together, so that an id is rewritten at most once per
/// fourfold size. A compacted file has at most `ids_max` ids and `span_max` of time, because files expire as a whole.
pub(super) fn plan(files: &[FileStats], ids_max: u64, span_max: Duration) -> Option<Range<usize>> {
    let worth = |window: &[FileStats]| {
        let sum: u64 = window.iter().map(|file| file.ids).sum();
        let largest = window.iter().map(|file| file.ids).max().unwrap_or(0);
        let from = window.iter().map(|file| file.received_min).min().unwrap_or_default();
        let to = window.iter().map(|file| file.received_max).max().unwrap_or_default();
        sum <= ids_max && largest <= sum - largest && to.since(from) <= span_max
    };
    let at = files.windows(WIDTH).rposition(worth)?;
    Some(at..at + WIDTH)
}

/// Returns the coverage of the compacted file.
pub(super) fn coverage(files: &[Arc<IdFile>]) -> Option<IdCoverage> {
    let all = || files.iter().map(|file| file.trailer().coverage);
    Some(IdCoverage {
        epoch: all().next()?.epoch,
        first: all().map(|file| file.first).min()?,
        last: all().map(|file| file.last).max()?,
        complete: store::covered(all(), &[]),
        received_min: all().map(|file| file.received_min).min()?,
        received_max: all().map(|file| file.received_max).max()?,
    })
}

/// Merges the entries of several files in the order of ids; of an id in more than one file, the newest entry.
pub(super) fn entries(files: &[Arc<IdFile>]) -> impl Iterator<Item = Result<IdEntry, DedupError>> {
    MergeIter(files.iter().map(|file| file.entries().peekable()).collect())
}

struct MergeIter<I: Iterator>(Vec<Peekable<I>>);

impl<I: Iterator<Item = Result<IdEntry, DedupError>>> Iterator for MergeIter<I> {
    type Item = Result<IdEntry, DedupError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut lowest = None;
        for source in &mut self.0 {
            match source.peek() {
                Some(Ok(entry)) => lowest = Some(lowest.map_or(entry.id, |id| entry.id.min(id))),
                Some(Err(_)) => return source.next(),
                None => {}
            }
        }
        let id = lowest?;
        let heads =
            self.0.iter_mut().filter_map(|source| source.next_if(|head| matches!(head, Ok(entry) if entry.id == id)));
        heads.flatten().max_by_key(|entry| entry.sequence).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ids: &[u64], expected: Option<Range<usize>>) {
        let hour = |n: usize| UnixMillis(n as i64 * 3_600_000);
        let files: Vec<FileStats> = ids
            .iter()
            .enumerate()
            .map(|(at, ids)| FileStats { ids: *ids, received_min: hour(at), received_max: hour(at + 1) })
            .collect();
        assert_eq!(plan(&files, 1_000, Duration::from_secs(6 * 3600)), expected, "{ids:?}");
    }

    #[test]
    fn similar_neighbours_are_merged_newest_first() {
        check(&[], None);
        check(&[1, 1, 1], None);
        check(&[1, 1, 1, 1], Some(0..4));
        check(&[9, 9, 9, 9, 1, 1, 1, 1], Some(4..8));
        check(&[100, 10, 5, 1], None);
        check(&[300, 300, 300, 300], None);
    }

    #[test]
    fn merged_file_stays_within_expiry_span() {
        let day = Duration::from_secs(24 * 3600);
        let file =
            |from: i64, to: i64| FileStats { ids: 1, received_min: UnixMillis(from), received_max: UnixMillis(to) };
        let ms = day.as_millis() as i64;
        assert_eq!(plan(&[file(0, 1), file(1, 2), file(2, 3), file(3, ms)], 1_000, day), Some(0..4));
        assert_eq!(plan(&[file(0, 1), file(1, 2), file(2, 3), file(3, ms + 1)], 1_000, day), None);
    }
}
