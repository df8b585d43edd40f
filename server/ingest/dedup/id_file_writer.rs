use std::io::{self, Write};

use xorf::{BinaryFuse8, DmaSerializable};

use super::block::{IdBlockEncoder, IdEntry};
use super::trailer::{IdCoverage, MAGIC, Trailer};
use crate::model::PostId;

/// Ids of a partition, which share one filter. Small enough that an old id among new ones widens the range of few
/// others, and that building its filter takes 2 MB; large enough that the filter costs 9.5 bits per id.
pub(super) const CHUNK_IDS: usize = 65_536;

/// Writes an id file sequentially from entries in the order of ids. Memory: one partition, and the filters.
pub(super) struct IdFileWriter<W> {
    out: W,
    written: u64,
    block: IdBlockEncoder,
    block_first: u64,
    chunk: Vec<u64>,
    chunk_blocks: u32,
    blocks: Vec<u8>,
    chunks: Vec<u8>,
    fingerprints: Vec<u8>,
    counts: (u32, u32),
    ids: u64,
    id_min: PostId,
    id_max: PostId,
}

impl<W: Write> IdFileWriter<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        Ok(Self {
            out,
            written: MAGIC.len() as u64,
            block: IdBlockEncoder::default(),
            block_first: 0,
            chunk: Vec::new(),
            chunk_blocks: 0,
            blocks: Vec::new(),
            chunks: Vec::new(),
            fingerprints: Vec::new(),
            counts: (0, 0),
            ids: 0,
            id_min: PostId(u64::MAX),
            id_max: PostId(0),
        })
    }

    /// Writes the next entry; its id is greater than the previous one.
    pub(super) fn push(&mut self, entry: &IdEntry) -> io::Result<()> {
        if self.block.is_empty() {
            self.block_first = entry.id.0;
        }
        self.block.push(entry);
        self.chunk.push(entry.id.0);
        self.ids += 1;
        self.id_min = self.id_min.min(entry.id);
        self.id_max = entry.id;
        if self.block.is_full() || self.chunk.len() == CHUNK_IDS {
            self.end_block()?;
        }
        if self.chunk.len() == CHUNK_IDS {
            self.end_chunk();
        }
        Ok(())
    }

    /// Writes the last block, the index and the trailer.
    pub(super) fn finish(mut self, coverage: IdCoverage) -> io::Result<W> {
        self.end_block()?;
        self.end_chunk();
        let meta = [self.blocks, self.chunks, self.fingerprints].concat();
        let trailer = Trailer {
            coverage,
            ids: self.ids,
            id_min: self.id_min,
            id_max: self.id_max,
            blocks: self.counts.0,
            chunks: self.counts.1,
            meta_offset: self.written,
            meta_len: meta.len() as u64,
            meta_crc: crc32fast::hash(&meta),
        };
        self.out.write_all(&meta)?;
        self.out.write_all(&trailer.encode())?;
        Ok(self.out)
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let bytes = self.block.take();
        self.out.write_all(&bytes)?;
        self.written += bytes.len() as u64;
        self.blocks.extend(self.block_first.to_le_bytes());
        self.blocks.extend((bytes.len() as u32).to_le_bytes());
        self.chunk_blocks += 1;
        self.counts.0 += 1;
        Ok(())
    }

    fn end_chunk(&mut self) {
        let Some(last) = self.chunk.last() else { return };
        self.chunks.extend(last.to_le_bytes());
        self.chunks.extend(self.chunk_blocks.to_le_bytes());
        let mut descriptor = [0; BinaryFuse8::DESCRIPTOR_LEN];
        let mut len = 0u32;
        // Building a filter almost never fails; without a filter every id is a possible match.
        if let Ok(filter) = BinaryFuse8::try_from(&self.chunk) {
            filter.dma_copy_descriptor_to(&mut descriptor);
            self.fingerprints.extend(filter.dma_fingerprints());
            len = filter.dma_fingerprints().len() as u32;
        }
        self.chunks.extend(descriptor);
        self.chunks.extend(len.to_le_bytes());
        self.chunk.clear();
        self.chunk_blocks = 0;
        self.counts.1 += 1;
    }
}
