//! Reads by sequence and by time, skipping blocks that cannot match. Never blocks the writer: the list of segments is a
//! snapshot, and files are opened for each read.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use zstd::bulk::Decompressor;

use super::gathered::{ReadBuilder, WHOLE_BYTES_MAX};
use super::index::{ReadPlan, ReadStep, SegmentBounds};
use super::shared::{IndexHandle, LogSnapshot, SharedLog};
use crate::journal::block::{BlockHeader, DecodedBlock, HEADER_BYTES, seed};
use crate::journal::disk::{Disk, is_shortage, try_read};
use crate::journal::key_match::Matcher;
use crate::journal::record::RecordHeader;
use crate::journal::{Damage, LogBounds, ReadBatch, ReadError, ReadItem, Reader};
use crate::model::{Epoch, KeyFilter, Sequence, TermStart, UnixMillis};

/// Decompressed blocks cached for readers that stopped inside them: 32 of 256 KiB once recompressed, fewer of large
/// batches.
const BLOCKS_BYTES_MAX: usize = 8 << 20;
/// Cached zstd contexts, each with a buffer as long as the longest block it has read.
const TOOLS_MAX: usize = 8;
/// Maximum restarts of a read because a file was replaced or trimmed meanwhile.
const ATTEMPTS_MAX: usize = 16;

type BlockId = (u64, u64);

pub(super) struct EmbeddedReader {
    pub(super) shared: Arc<SharedLog>,
    pub(super) seed: u32,
    blocks: Mutex<VecDeque<(BlockId, Arc<DecodedBlock>)>>,
    tools: Mutex<Vec<BlockDecoder>>,
}

/// Buffers and context for reading a block.
struct BlockDecoder {
    decompressor: Decompressor<'static>,
    /// Never shrinks, so that it is zeroed only once.
    stored: Vec<u8>,
}

/// A reader's cursor within a segment.
pub(super) struct SegmentCursor<'a> {
    pub(super) id: u64,
    path: &'a std::path::Path,
    pub(super) held: IndexHandle,
    pub(super) around: SegmentBounds,
    /// Opened for the first block.
    file: Option<File>,
    /// True if the file is gone and no newer snapshot replaces it.
    lost: bool,
}

impl BlockDecoder {
    fn new() -> io::Result<Self> {
        Ok(Self { decompressor: Decompressor::new()?, stored: Vec::new() })
    }

    /// Reads the stored bytes of a block and passes them to `use_it`; `None` if the disk cannot read them.
    fn read<R>(
        &mut self,
        (disk, file): (&dyn Disk, &File),
        (offset, header): (u64, &BlockHeader),
        take: impl FnOnce(&[u8], &mut Decompressor<'static>) -> R,
    ) -> io::Result<Option<R>> {
        let length = usize::try_from(header.block_bytes()).map_err(io::Error::other)?;
        if self.stored.len() < length {
            self.stored.resize(length, 0);
        }
        let stored = &mut self.stored[..length];
        let read = try_read(disk, file, stored, offset)?;
        Ok(read.then(|| take(stored, &mut self.decompressor)))
    }
}

impl EmbeddedReader {
    pub(super) fn new(shared: Arc<SharedLog>) -> Self {
        let seed = seed(shared.epoch);
        Self { shared, seed, blocks: Mutex::default(), tools: Mutex::default() }
    }

    /// Calls `read` with a snapshot, and again with a newer one if a file of it was gone. The second argument is true
    /// if there is no newer snapshot: then the file is lost.
    pub(super) fn with_snapshot<R>(
        &self,
        read: impl Fn(&LogSnapshot, bool) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        let mut snapshot = self.shared.snapshot.load_full();
        let mut lost = false;
        for _ in 0..ATTEMPTS_MAX {
            match read(&snapshot, lost) {
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                    let newer = self.shared.snapshot.load_full();
                    lost = Arc::ptr_eq(&newer, &snapshot);
                    snapshot = newer;
                }
                result => return result,
            }
        }
        Err(ReadError::Io(io::ErrorKind::NotFound.into()))
    }

    pub(super) fn open_segment<'a>(
        &self,
        snapshot: &'a LogSnapshot,
        number: usize,
        lost: bool,
    ) -> io::Result<SegmentCursor<'a>> {
        let (before, after) = (snapshot.received_before(number), snapshot.received_after(number));
        let outermost = snapshot.outermost;
        let Some(segment) = snapshot.sealed.get(number) else {
            let tail = &snapshot.tail;
            let around = SegmentBounds { first: tail.first, end: Some(tail.claimed), before, after, outermost };
            let held = IndexHandle::Tail(tail.clone());
            return Ok(SegmentCursor { id: tail.id, path: &tail.path, held, around, file: None, lost });
        };
        let around =
            SegmentBounds { first: segment.name.first, end: Some(snapshot.end(number)), before, after, outermost };
        let held = match self.shared.index(segment) {
            Err(error) if is_shortage(&error) || (!lost && error.kind() == io::ErrorKind::NotFound) => {
                return Err(error);
            }
            // Nothing of it can be read: all of it is damage.
            Err(_) => IndexHandle::Loaded(Arc::default()),
            Ok(held) => held,
        };
        Ok(SegmentCursor { id: segment.id, path: &segment.path, held, around, file: None, lost })
    }

    /// Returns a decompressed block; `None` if it is damaged.
    pub(super) fn block(
        &self,
        place: &mut SegmentCursor<'_>,
        offset: u64,
        header: &BlockHeader,
    ) -> io::Result<Option<Arc<DecodedBlock>>> {
        let cached = self.blocks.lock().iter().find(|(id, _)| *id == (place.id, offset)).map(|(_, it)| it.clone());
        if cached.is_some() {
            return Ok(cached);
        }
        let seed = self.seed;
        let decode = |stored: &[u8], decompressor: &mut Decompressor<'static>| {
            let block = DecodedBlock::decode(stored, seed, decompressor).ok();
            block.filter(|block| block.header == *header).map(Arc::new)
        };
        let block = self.with_stored(place, (offset, header), decode)?.flatten();
        if block.is_some() {
            self.shared.damage.read(&self.shared.dir, header.first, header.end());
        }
        Ok(block)
    }

    /// Returns true if the block on disk matches its checksum.
    pub(super) fn is_sound(
        &self,
        place: &mut SegmentCursor<'_>,
        offset: u64,
        header: &BlockHeader,
    ) -> io::Result<bool> {
        let seed = self.seed;
        let check = |stored: &[u8], _: &mut Decompressor<'static>| {
            let body = stored.get(HEADER_BYTES..).unwrap_or_default();
            BlockHeader::decode(stored, seed).is_ok_and(|found| found == *header) && header.is_body(body, seed)
        };
        let sound = self.with_stored(place, (offset, header), check)?.unwrap_or(false);
        if sound {
            self.shared.damage.read(&self.shared.dir, header.first, header.end());
        }
        Ok(sound)
    }

    /// Reads the stored bytes of a block and passes them on; `None` if they cannot be read.
    fn with_stored<R>(
        &self,
        place: &mut SegmentCursor<'_>,
        block: (u64, &BlockHeader),
        take: impl FnOnce(&[u8], &mut Decompressor<'static>) -> R,
    ) -> io::Result<Option<R>> {
        if place.file.is_none() {
            match File::open(place.path) {
                Ok(file) => place.file = Some(file),
                Err(error) if is_shortage(&error) => return Err(error),
                Err(error) if error.kind() == io::ErrorKind::NotFound && !place.lost => return Err(error),
                Err(_) => return Ok(None),
            }
        }
        let Some(file) = &place.file else { return Ok(None) };
        let pooled = self.tools.lock().pop();
        let mut tools = pooled.map_or_else(BlockDecoder::new, Ok)?;
        let taken = tools.read((&*self.shared.disk, file), block, take);
        let mut pool = self.tools.lock();
        if pool.len() < TOOLS_MAX {
            pool.push(tools);
        }
        taken
    }

    /// Caches a block that the reader has not finished.
    fn cache_block(&self, id: BlockId, block: &Arc<DecodedBlock>) {
        let mut blocks = self.blocks.lock();
        if block.payload_bytes() > BLOCKS_BYTES_MAX || blocks.iter().any(|(held, _)| *held == id) {
            return;
        }
        blocks.push_front((id, block.clone()));
        let mut bytes: usize = blocks.iter().map(|(_, block)| block.payload_bytes()).sum();
        while bytes > BLOCKS_BYTES_MAX
            && let Some((_, oldest)) = blocks.pop_back()
        {
            bytes -= oldest.payload_bytes();
        }
    }

    fn read_snapshot(
        &self,
        snapshot: &LogSnapshot,
        (from, keys): (Sequence, &KeyFilter),
        (bytes_max, whole): (usize, bool),
        lost: bool,
    ) -> Result<ReadBatch, ReadError> {
        let start = snapshot.find(from)?;
        let mut gathered =
            ReadBuilder { chunk: ReadBatch { items: Vec::new(), next: from }, bytes: 0, bytes_max, whole };
        for number in start..=snapshot.sealed.len() {
            let mut place = match self.open_segment(snapshot, number, lost) {
                // The records read so far are returned; the error repeats at the next call.
                Err(_) if !gathered.chunk.items.is_empty() => break,
                place => place?,
            };
            match self.read_segment(&mut place, keys, &mut gathered) {
                Err(_) if !gathered.chunk.items.is_empty() => break,
                result => result?,
            }
            if gathered.is_full() {
                break;
            }
        }
        Ok(self.announced(gathered.chunk))
    }

    /// Registers the damage of a chunk.
    pub(super) fn announced(&self, chunk: ReadBatch) -> ReadBatch {
        for item in &chunk.items {
            if let ReadItem::Damaged { first, last, from, to } = *item {
                self.shared.damage.add(&self.shared.dir, Damage { first, last, from, to });
            }
        }
        chunk
    }

    fn read_segment(
        &self,
        place: &mut SegmentCursor<'_>,
        keys: &KeyFilter,
        gathered: &mut ReadBuilder,
    ) -> io::Result<()> {
        let mut matcher = Matcher::new(keys);
        loop {
            let at = gathered.chunk.next;
            let bytes_max = gathered.bytes_max.saturating_sub(gathered.bytes).max(1);
            let plan: ReadPlan = place.held.with_index(|index| index.plan(at, &place.around, &mut matcher, bytes_max));
            for step in plan.steps {
                match step {
                    ReadStep::Missing { first, last, sides } => gathered.damaged(first, last, sides),
                    ReadStep::Block { offset, header, sides } => match self.block(place, offset, &header)? {
                        None => gathered.damaged(header.first, header.end() - 1, sides),
                        Some(block) => {
                            let whole = gathered.take(&block, keys, sides);
                            if !whole {
                                self.cache_block((place.id, offset), &block);
                            }
                        }
                    },
                }
                if gathered.is_full() {
                    return Ok(());
                }
            }
            gathered.chunk.next = gathered.chunk.next.max(plan.next);
            if plan.done {
                return Ok(());
            }
        }
    }

    fn seek_snapshot(&self, snapshot: &LogSnapshot, time: UnixMillis, lost: bool) -> Result<Sequence, ReadError> {
        let sealed = &snapshot.sealed;
        // A segment without an intact block is passed over; the next one decides.
        let behind = |number: usize| sealed[number].summary.received.is_none_or(|(_, last)| last < time);
        let mut start = sealed.partition_point(|it| it.summary.received.is_some_and(|(_, last)| last < time));
        while start < sealed.len() && behind(start) {
            start += 1;
        }
        let mut place = self.open_segment(snapshot, start, lost)?;
        let found =
            place.held.with_index(|index| index.find(time).map(|(entry, before)| (entry.offset, entry.header, before)));
        let Some((offset, header, before)) = found else {
            return Ok(self.shared.tip.lock().next);
        };
        // End of the previous block: the range in between is damaged and may also have been received after `time`.
        let before = before.unwrap_or_else(|| {
            let last = sealed[..start].iter().rev().find(|it| it.summary.end > 0);
            last.map_or(snapshot.earliest(), |it| it.summary.end)
        });
        if header.first_received >= time {
            return Ok(before.min(header.first));
        }
        let Some(block) = self.block(&mut place, offset, &header)? else { return Ok(header.first) };
        let late = |preview: &RecordHeader| preview.received >= time;
        let mut records = block.records(&late);
        let at = records.next_from(0).ok().flatten();
        Ok(at.map_or(header.first, |record| record.sequence))
    }
}

impl Reader for EmbeddedReader {
    fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    fn terms(&self) -> Arc<[TermStart]> {
        self.shared.terms.read().clone()
    }

    fn extent(&self) -> LogBounds {
        self.shared.extent()
    }

    fn synced(&self) -> Sequence {
        self.shared.synced.load(Ordering::Acquire)
    }

    fn damage(&self) -> Vec<Damage> {
        self.shared.damage.list()
    }

    fn seek(&self, time: UnixMillis) -> Result<Sequence, ReadError> {
        self.with_snapshot(|snapshot, lost| self.seek_snapshot(snapshot, time, lost))
    }

    fn read(&self, from: Sequence, keys: &KeyFilter, bytes_max: usize) -> Result<ReadBatch, ReadError> {
        self.with_snapshot(|snapshot, lost| self.read_snapshot(snapshot, (from.max(1), keys), (bytes_max, false), lost))
    }

    fn read_notices(&self, range: Range<Sequence>, check: bool, bytes_max: u64) -> Result<ReadBatch, ReadError> {
        self.with_snapshot(|snapshot, lost| self.notices_of(snapshot, range.clone(), (check, bytes_max), lost))
    }

    fn page_start(&self, at: Sequence, keys: &KeyFilter) -> Result<Option<Sequence>, ReadError> {
        self.with_snapshot(|snapshot, lost| {
            let at = at.max(1);
            let place = self.open_segment(snapshot, snapshot.find(at)?, lost)?;
            let start = |header: &BlockHeader| {
                if header.payload_bytes as usize <= WHOLE_BYTES_MAX { header.first } else { at }
            };
            Ok(place.held.with_index(|index| index.wanted(at, keys).map(start)))
        })
    }

    fn read_page(&self, first: Sequence, bytes_max: usize) -> Result<ReadBatch, ReadError> {
        let from = (first.max(1), &KeyFilter::Always);
        self.with_snapshot(|snapshot, lost| self.read_snapshot(snapshot, from, (bytes_max, true), lost))
    }
}
