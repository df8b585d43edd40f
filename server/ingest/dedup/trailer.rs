use crate::codec::{ByteReader, DecodeError};
use crate::model::{Epoch, PostId, Sequence, UnixMillis};

/// First bytes of every id file.
pub(super) const MAGIC: [u8; 8] = *b"psgwids\n";
/// Version of the file format that is written, and the newest supported one.
pub(super) const VERSION: u32 = 1;
/// Bytes of a trailer.
pub(super) const LEN: usize = 128;

/// Part of a log that a file covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdCoverage {
    /// Epoch of the log.
    pub(super) epoch: Epoch,
    /// First covered sequence.
    pub(super) first: Sequence,
    /// Last possible sequence.
    pub(super) last: Sequence,
    /// The file has every id of `first..=complete`; less than `last` after a truncation of the log.
    pub(super) complete: Sequence,
    /// When the earliest of its records was received.
    pub(super) received_min: UnixMillis,
    /// When the latest of its records was received.
    pub(super) received_max: UnixMillis,
}

/// Trailer of an id file: coverage, and location of the index.
///
/// `magic · version u32 · meta crc u32 · epoch u128 · first · last · complete · received min, max · ids · id min, max ·
/// blocks u32 · chunks u32 · meta offset · meta bytes · crc u32`, little-endian, zeros up to the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) coverage: IdCoverage,
    pub(super) ids: u64,
    pub(super) id_min: PostId,
    pub(super) id_max: PostId,
    pub(super) blocks: u32,
    pub(super) chunks: u32,
    pub(super) meta_offset: u64,
    pub(super) meta_len: u64,
    pub(super) meta_crc: u32,
}

/// Why a trailer cannot be decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TrailerError {
    /// Written by a newer version.
    Version(u32),
    /// Damaged.
    Damaged(&'static str),
}

impl From<DecodeError> for TrailerError {
    fn from(error: DecodeError) -> Self {
        Self::Damaged(error.into())
    }
}

impl Trailer {
    pub(super) fn encode(&self) -> [u8; LEN] {
        let IdCoverage { epoch, first, last, complete, received_min, received_max } = self.coverage;
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.meta_crc.to_le_bytes());
        bytes.extend(epoch.0.to_le_bytes());
        for number in [first, last, complete] {
            bytes.extend(number.to_le_bytes());
        }
        for time in [received_min, received_max] {
            bytes.extend(time.0.to_le_bytes());
        }
        for number in [self.ids, self.id_min.0, self.id_max.0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.blocks.to_le_bytes());
        bytes.extend(self.chunks.to_le_bytes());
        bytes.extend(self.meta_offset.to_le_bytes());
        bytes.extend(self.meta_len.to_le_bytes());
        bytes.resize(LEN - 4, 0);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.try_into().expect("trailer fields are 128 bytes")
    }

    pub(super) fn decode(bytes: &[u8; LEN]) -> Result<Self, TrailerError> {
        let mut scan = ByteReader::new(bytes);
        if scan.array()? != MAGIC {
            return Err(TrailerError::Damaged("missing trailer magic"));
        }
        let (body, crc) = bytes.split_at(LEN - 4);
        if crc32fast::hash(body).to_le_bytes() != crc {
            return Err(TrailerError::Damaged("trailer checksum does not match"));
        }
        let version = scan.u32()?;
        if version > VERSION {
            return Err(TrailerError::Version(version));
        }
        let meta_crc = scan.u32()?;
        let coverage = IdCoverage {
            epoch: Epoch(scan.u128()?),
            first: scan.u64()?,
            last: scan.u64()?,
            complete: scan.u64()?,
            received_min: UnixMillis(scan.i64()?),
            received_max: UnixMillis(scan.i64()?),
        };
        Ok(Self {
            coverage,
            ids: scan.u64()?,
            id_min: PostId(scan.u64()?),
            id_max: PostId(scan.u64()?),
            blocks: scan.u32()?,
            chunks: scan.u32()?,
            meta_offset: scan.u64()?,
            meta_len: scan.u64()?,
            meta_crc,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailer() -> Trailer {
        let coverage = IdCoverage {
            epoch: Epoch(7 << 100),
            first: 1,
            last: 9,
            complete: 8,
            received_min: UnixMillis(-5),
            received_max: UnixMillis(6),
        };
        Trailer {
            coverage,
            ids: 3,
            id_min: PostId(4),
            id_max: PostId(u64::MAX),
            blocks: 1,
            chunks: 1,
            meta_offset: 10,
            meta_len: 11,
            meta_crc: 12,
        }
    }

    #[test]
    fn trailer_is_read_as_it_was_written() {
        assert_eq!(Trailer::decode(&trailer().encode()), Ok(trailer()));
    }

    #[test]
    fn trailer_with_any_bit_flipped_is_refused() {
        for bit in 0..LEN * 8 {
            let mut bytes = trailer().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Trailer::decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn newer_format_is_distinguished_from_damage() {
        let mut bytes = trailer().encode();
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..LEN - 4]);
        bytes[LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Trailer::decode(&bytes), Err(TrailerError::Version(2)));
    }
}
