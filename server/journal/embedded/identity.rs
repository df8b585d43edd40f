//! Identity file: format version, epoch, and the table of terms, which outlives all records.
//!
//! ```text
//! magic:8 version:u32 epoch:u128 created:i64 count:u32 (term:u64 first:u64)* crc:u32
//! ```

use std::io;
use std::path::Path;

use super::files;
use crate::codec::{ByteReader, DecodeError};
use crate::journal::disk::Disk;
use crate::journal::{OpenError, WriterIdentity};
use crate::model::{Epoch, Sequence, Term, TermStart, UnixMillis};
use crate::state_file;

const MAGIC: [u8; 8] = *b"PSGWLOG\n";
/// Newest version of the files of a log: one number, increased when any of them changes.
///
/// Version 2 may contain RULES records. A log gets it before its first one, so that earlier programs read logs without
/// them and refuse the others, instead of taking these records for damage.
pub(in crate::journal) const VERSION: u32 = 2;
/// Version of a log without RULES records.
const BASE_VERSION: u32 = 1;

/// Decoded identity file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) struct LogIdentity {
    pub(in crate::journal) version: u32,
    pub(in crate::journal) epoch: Epoch,
    pub(in crate::journal) created: UnixMillis,
    pub(in crate::journal) terms: Vec<TermStart>,
}

impl LogIdentity {
    /// Reads it; `None` if the file does not exist.
    pub(in crate::journal) fn read(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(files::IDENTITY);
        let bytes = match state_file::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OpenError::Io { path, source }),
        };
        match Self::decode(&bytes) {
            Ok(identity) => Ok(Some(identity)),
            Err(Some(found)) => Err(OpenError::Version { path: dir.to_owned(), found, known: VERSION }),
            Err(None) => Err(damaged(dir, "the identity file does not match its checksum")),
        }
    }

    /// Reads the identity of the log, or creates that of a new log.
    pub(in crate::journal) fn read_or_make(
        disk: &dyn Disk,
        dir: &Path,
        new: WriterIdentity,
        now: UnixMillis,
    ) -> Result<Self, OpenError> {
        if let Some(identity) = Self::read(dir)? {
            return Ok(identity);
        }
        let io = |source| OpenError::Io { path: dir.to_owned(), source };
        if !files::segments(dir).map_err(io)?.is_empty() {
            return Err(missing(dir));
        }
        create(disk, dir, (new.epoch, Vec::new()), now)
    }

    pub(in crate::journal) fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        files::replace(disk, &dir.join(files::IDENTITY), &self.encode())
    }

    /// Lists a term that begins at `first`. Terms whose records from there on are lost end before it.
    pub(in crate::journal) fn list(&mut self, term: Term, first: Sequence) {
        self.clamp(first);
        self.terms.push(TermStart { term, first });
    }

    /// Limits the start of every term to `next`, for terms that began in a lost tail.
    pub(in crate::journal) fn clamp(&mut self, next: Sequence) {
        for start in &mut self.terms {
            start.first = start.first.min(next);
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&self.created.0.to_le_bytes());
        out.extend_from_slice(&(self.terms.len() as u32).to_le_bytes());
        for start in &self.terms {
            out.extend_from_slice(&start.term.0.to_le_bytes());
            out.extend_from_slice(&start.first.to_le_bytes());
        }
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// Decodes the file. The error contains the version if it is a later one.
    fn decode(bytes: &[u8]) -> Result<Self, Option<u32>> {
        let damage = |_: DecodeError| None;
        let mut input = ByteReader::new(bytes);
        if input.take(MAGIC.len()).map_err(damage)? != MAGIC {
            return Err(None);
        }
        let version = input.u32().map_err(damage)?;
        let sound = bytes.len() > 4 && {
            let (body, crc) = bytes.split_at(bytes.len() - 4);
            crc32fast::hash(body).to_le_bytes() == crc
        };
        match (sound, version) {
            (true, BASE_VERSION..=VERSION) => Self::decode_fields(version, &mut input).map_err(damage),
            // Later versions may use another checksum, but a damaged number must not be reported as one of them.
            (true, later) => Err(Some(later)),
            (false, _) => Err(None),
        }
    }

    fn decode_fields(version: u32, input: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        let (epoch, created) = (Epoch(input.u128()?), UnixMillis(input.i64()?));
        let mut terms = Vec::new();
        for _ in 0..input.u32()? {
            terms.push(TermStart { term: Term(input.u64()?), first: input.u64()? });
        }
        Ok(Self { version, epoch, created, terms })
    }
}

/// Creates the identity of a new log.
pub(super) fn create(
    disk: &dyn Disk,
    dir: &Path,
    (epoch, terms): (Epoch, Vec<TermStart>),
    now: UnixMillis,
) -> Result<LogIdentity, OpenError> {
    let identity = LogIdentity { version: BASE_VERSION, epoch, created: now, terms };
    identity.write(disk, dir).map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
    Ok(identity)
}

/// Returns the error for a log whose identity file is missing.
pub(super) fn missing(dir: &Path) -> OpenError {
    damaged(dir, "there are segments, but no identity file")
}

fn damaged(dir: &Path, detail: &str) -> OpenError {
    OpenError::Damaged { path: dir.to_owned(), detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> LogIdentity {
        let mut identity =
            LogIdentity { version: VERSION, epoch: Epoch(7 << 90), created: UnixMillis(5), terms: Vec::new() };
        identity.list(Term(1), 1);
        identity.list(Term(2), 101);
        identity
    }

    #[test]
    fn identity_round_trips_and_damage_is_detected() {
        let bytes = sample().encode();
        assert_eq!(LogIdentity::decode(&bytes), Ok(sample()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(LogIdentity::decode(&flipped), Err(None), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(LogIdentity::decode(&bytes[..length]), Err(None), "length {length}");
        }
    }

    #[test]
    fn version_from_future_is_reported() {
        let mut bytes = sample().encode();
        bytes.truncate(bytes.len() - 4);
        bytes[8..12].copy_from_slice(&9_u32.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        assert_eq!(LogIdentity::decode(&bytes), Err(Some(9)));
    }

    #[test]
    fn terms_without_records_end_before_next() {
        let mut identity = sample();
        identity.list(Term(3), 91);
        assert_eq!(identity.terms.iter().map(|start| start.first).collect::<Vec<_>>(), [1, 91, 91]);
    }
}
