use std::fs::File;
use std::io;
use std::ops::{Range, RangeInclusive};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter, FilterRef};

use super::block::{self, IdEntry};
use super::trailer::{self, MAGIC, Trailer, TrailerError};
use super::{DedupError, KnownPost, Metrics};
use crate::codec::ByteReader;
use crate::model::PostId;

/// An immutable id file: filters and first ids of the blocks in memory, the rest in the source.
pub(super) struct IdFile {
    source: IdFileSource,
    trailer: Trailer,
    chunks: Vec<FilterPartition>,
    /// First id of each block.
    firsts: Box<[u64]>,
    /// Offset of each block, and the end of the last one.
    offsets: Box<[u64]>,
    fingerprints: Box<[u8]>,
}

/// Storage of an id file.
pub(super) enum IdFileSource {
    /// In a file.
    Disk(PathBuf, File),
    /// In memory, without a directory.
    Memory(Vec<u8>),
}

/// Ids that share a filter.
struct FilterPartition {
    last: u64,
    blocks: Range<usize>,
    descriptor: [u8; BinaryFuse8::DESCRIPTOR_LEN],
    fingerprints: Range<usize>,
}

impl IdFileSource {
    fn len(&self) -> io::Result<u64> {
        match self {
            Self::Disk(_, file) => Ok(file.metadata()?.len()),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Disk(_, file) => file.read_exact_at(buffer, offset),
            Self::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = bytes.get(from..).and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    /// Returns the path, for display.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Disk(path, _) => path.clone(),
            Self::Memory(_) => PathBuf::from("(memory)"),
        }
    }
}

impl IdFile {
    /// Opens a file. The index and the filters are verified now, blocks when they are read.
    pub(super) fn open(path: &Path) -> Result<Self, DedupError> {
        let file = File::open(path).map_err(|source| DedupError::Io { path: path.to_owned(), source })?;
        Self::load(IdFileSource::Disk(path.to_owned(), file))
    }

    pub(super) fn load(source: IdFileSource) -> Result<Self, DedupError> {
        let path = source.path();
        let trailer = read_trailer(&source, &path)?;
        // The index is loaded into memory; it cannot be longer than the file, whose length the trailer has verified.
        let mut meta = vec![0; usize::try_from(trailer.meta_len).unwrap_or(usize::MAX)];
        source.read(&mut meta, trailer.meta_offset).map_err(|error| unreadable(&path, error))?;
        if crc32fast::hash(&meta) != trailer.meta_crc {
            return Err(DedupError::damaged(&path, "index checksum does not match"));
        }
        let mut sealed = Self::index(source, trailer, &meta).map_err(|detail| DedupError::damaged(&path, detail))?;
        if let IdFileSource::Memory(blocks) = &mut sealed.source {
            // The index is kept decoded; its bytes are not needed a second time.
            blocks.truncate(usize::try_from(trailer.meta_offset).unwrap_or(usize::MAX));
            blocks.shrink_to_fit();
        }
        Ok(sealed)
    }

    fn index(source: IdFileSource, trailer: Trailer, meta: &[u8]) -> Result<Self, &'static str> {
        let mut scan = ByteReader::new(meta);
        let mut offset = MAGIC.len() as u64;
        let mut firsts = Vec::with_capacity(trailer.blocks as usize);
        let mut offsets = Vec::with_capacity(trailer.blocks as usize + 1);
        for _ in 0..trailer.blocks {
            firsts.push(scan.u64()?);
            offsets.push(offset);
            offset += u64::from(scan.u32()?);
        }
        offsets.push(offset);
        let mut chunks = Vec::with_capacity(trailer.chunks as usize);
        let (mut block, mut fingerprint) = (0, 0);
        for _ in 0..trailer.chunks {
            let last = scan.u64()?;
            let blocks = block..block + scan.u32()? as usize;
            let descriptor = scan.array()?;
            let fingerprints = fingerprint..fingerprint + scan.u32()? as usize;
            (block, fingerprint) = (blocks.end, fingerprints.end);
            chunks.push(FilterPartition { last, blocks, descriptor, fingerprints });
        }
        let whole = offset == trailer.meta_offset
            && block == firsts.len()
            && fingerprint == scan.rest().len()
            && chunks.iter().all(FilterPartition::is_sound);
        if !whole {
            return Err("index is inconsistent");
        }
        let fingerprints = scan.rest().into();
        Ok(Self { source, trailer, chunks, firsts: firsts.into(), offsets: offsets.into(), fingerprints })
    }

    pub(super) fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    pub(super) fn source(&self) -> &IdFileSource {
        &self.source
    }

    /// Returns the bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.trailer.meta_offset + self.trailer.meta_len + trailer::LEN as u64
    }

    /// Returns the bytes of its filters, in memory.
    pub(super) fn filter_bytes(&self) -> usize {
        self.fingerprints.len()
    }

    /// Finds the entry of an id.
    pub(super) fn find(&self, id: PostId, metrics: &Metrics) -> Result<Option<KnownPost>, DedupError> {
        if id < self.trailer.id_min || id > self.trailer.id_max {
            return Ok(None);
        }
        let Some(chunk) = self.chunks.get(self.chunks.partition_point(|chunk| chunk.last < id.0)) else {
            return Ok(None);
        };
        let firsts = &self.firsts[chunk.blocks.clone()];
        let before = firsts.partition_point(|first| *first <= id.0);
        if before == 0 || !chunk.may_contain(id, &self.fingerprints) {
            return Ok(None);
        }
        metrics.file_reads.inc();
        let bytes = self.block(chunk.blocks.start + before - 1)?;
        let known = block::find(&bytes, id).map_err(|detail| DedupError::damaged(&self.source.path(), detail))?;
        if known.is_none() {
            metrics.false_positives.inc();
        }
        Ok(known)
    }

    /// Returns all entries in the order of ids, with one block in memory at a time.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<IdEntry, DedupError>> + '_ {
        (0..self.blocks()).flat_map(|at| {
            let (entries, error) = match self.decoded(at) {
                Ok(entries) => (entries, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            error.into_iter().chain(entries.into_iter().map(Ok))
        })
    }

    /// Returns the number of blocks.
    pub(super) fn blocks(&self) -> usize {
        self.firsts.len()
    }

    /// Returns the range of ids that a block covers.
    pub(super) fn ids_of(&self, at: usize) -> RangeInclusive<PostId> {
        let last = self.firsts.get(at + 1).map_or(self.trailer.id_max, |next| PostId(next.saturating_sub(1)));
        PostId(self.firsts[at])..=last
    }

    /// Returns the byte range of a block in the file.
    pub(super) fn block_range(&self, at: usize) -> Range<u64> {
        self.offsets[at]..self.offsets[at + 1]
    }

    /// Decodes the entries of a block.
    pub(super) fn decoded(&self, at: usize) -> Result<Vec<IdEntry>, DedupError> {
        let bytes = self.block(at)?;
        block::decode(&bytes).map_err(|detail| DedupError::damaged(&self.source.path(), detail))
    }

    fn block(&self, at: usize) -> Result<Vec<u8>, DedupError> {
        let Range { start, end } = self.block_range(at);
        let mut bytes = vec![0; (end - start) as usize];
        self.source.read(&mut bytes, start).map_err(|source| unreadable(&self.source.path(), source))?;
        Ok(bytes)
    }
}

impl FilterPartition {
    /// True if lookups in the filter stay within its fingerprints, for every id.
    fn is_sound(&self) -> bool {
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| self.descriptor[at + i]));
        let (segment, mask, count) = (u64::from(word(8)), u64::from(word(12)), u64::from(word(16)));
        let len = self.fingerprints.len() as u64;
        len == 0
            || (segment.is_power_of_two() && mask == segment - 1 && count + 2 * segment <= len && count % segment == 0)
    }

    fn may_contain(&self, id: PostId, fingerprints: &[u8]) -> bool {
        let fingerprints = &fingerprints[self.fingerprints.clone()];
        fingerprints.is_empty() || BinaryFuse8Ref::from_dma(&self.descriptor, fingerprints).contains(&id.0)
    }
}

/// Classifies a failed read: a bad sector does not recover, so EIO counts as damage. The entries that the journal
/// retains are staged again.
fn unreadable(path: &Path, source: io::Error) -> DedupError {
    let bad = [Errno::IO, Errno::BADMSG, Errno::NODATA, Errno::ISDIR, Errno::UCLEAN];
    if source.raw_os_error().is_some_and(|code| bad.iter().any(|it| it.raw_os_error() == code)) {
        return DedupError::damaged(path, "disk read error");
    }
    DedupError::Io { path: path.to_owned(), source }
}

fn read_trailer(source: &IdFileSource, path: &Path) -> Result<Trailer, DedupError> {
    let failed = |source| DedupError::Io { path: path.to_owned(), source };
    let len = source.len().map_err(failed)?;
    let Some(offset) = len.checked_sub(trailer::LEN as u64) else {
        return Err(DedupError::damaged(path, "file is shorter than its trailer"));
    };
    let mut bytes = [0; trailer::LEN];
    source.read(&mut bytes, offset).map_err(|error| unreadable(path, error))?;
    let trailer = Trailer::decode(&bytes).map_err(|why| match why {
        TrailerError::Version(found) => DedupError::Version { path: path.to_owned(), found, known: trailer::VERSION },
        TrailerError::Damaged(detail) => DedupError::damaged(path, detail),
    })?;
    if trailer.meta_offset.checked_add(trailer.meta_len) != Some(offset) {
        return Err(DedupError::damaged(path, "file length differs from its trailer"));
    }
    Ok(trailer)
}
