//! A block: a few hundred ids in order, with the rule sets that they reference, under one checksum.
//!
//! `crc32 u32 · bytes of the sets u32 · entries u32 · sets · entries`, little-endian; the checksum covers everything
//! after it. An entry is three varints: id minus the previous id, index of its set, sequence minus the previous
//! sequence (zigzag).

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::KnownPost;
use crate::codec::{ByteReader, put_signed, put_varint};
use crate::model::{PostId, Rule, Sequence};

/// Maximum ids of a block: at about 8 bytes each, a read is about one disk page.
pub(super) const IDS_MAX: usize = 512;
/// A block ends early when its sets and entries have reached this many bytes.
const BYTES_MAX: usize = 32 << 10;
const HEAD: usize = 12;

/// Entry of one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdEntry {
    pub(super) id: PostId,
    pub(super) rules: Arc<[Rule]>,
    pub(super) sequence: Sequence,
}

/// Encodes the entries of one block.
#[derive(Default)]
pub(super) struct IdBlockEncoder {
    numbers: HashMap<Arc<[Rule]>, u64, FixedState>,
    sets: Vec<u8>,
    entries: Vec<u8>,
    count: usize,
    id: u64,
    sequence: Sequence,
}

impl IdBlockEncoder {
    pub(super) fn push(&mut self, entry: &IdEntry) {
        let number = match self.numbers.get(&entry.rules) {
            Some(number) => *number,
            None => self.intern(&entry.rules),
        };
        put_varint(&mut self.entries, entry.id.0.wrapping_sub(self.id));
        put_varint(&mut self.entries, number);
        put_signed(&mut self.entries, entry.sequence.wrapping_sub(self.sequence) as i64);
        (self.id, self.sequence) = (entry.id.0, entry.sequence);
        self.count += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= IDS_MAX || self.sets.len() + self.entries.len() >= BYTES_MAX
    }

    /// Returns the finished block and resets the encoder.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.sets.len() + self.entries.len());
        bytes.extend([0; 4]);
        bytes.extend((self.sets.len() as u32).to_le_bytes());
        bytes.extend((self.count as u32).to_le_bytes());
        bytes.extend(&self.sets);
        bytes.extend(&self.entries);
        let crc = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        self.numbers.clear();
        self.sets.clear();
        self.entries.clear();
        (self.count, self.id, self.sequence) = (0, 0, 0);
        bytes
    }

    fn intern(&mut self, rules: &Arc<[Rule]>) -> u64 {
        let number = self.numbers.len() as u64;
        self.numbers.insert(rules.clone(), number);
        put_varint(&mut self.sets, rules.len() as u64);
        for rule in rules.iter() {
            self.sets.push(u8::from(rule.id.is_some()) | u8::from(rule.tag.is_some()) << 1);
            if let Some(id) = rule.id {
                self.sets.extend(id.to_le_bytes());
            }
            if let Some(tag) = &rule.tag {
                put_varint(&mut self.sets, tag.len() as u64);
                self.sets.extend(tag.as_bytes());
            }
        }
        number
    }
}

/// Decodes all entries of a block.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<IdEntry>, &'static str> {
    let (mut sets, count, mut scan) = open(bytes)?;
    let mut known = Vec::new();
    while !sets.is_at_end() {
        known.push(take_rules(&mut sets)?);
    }
    let (mut id, mut sequence) = (0u64, 0u64);
    let mut entries = Vec::with_capacity(count.min(IDS_MAX));
    for _ in 0..count {
        id = id.wrapping_add(scan.varint()?);
        let rules: &Arc<[Rule]> = known.get(scan.varint()? as usize).ok_or("entry references a missing rule set")?;
        sequence = sequence.wrapping_add(scan.signed()? as u64);
        entries.push(IdEntry { id: PostId(id), rules: rules.clone(), sequence });
    }
    Ok(entries)
}

/// Finds the entry of `wanted` in a block.
pub(super) fn find(bytes: &[u8], wanted: PostId) -> Result<Option<KnownPost>, &'static str> {
    let (mut sets, count, mut scan) = open(bytes)?;
    let (mut id, mut sequence) = (0u64, 0u64);
    for _ in 0..count {
        id = id.wrapping_add(scan.varint()?);
        let number = scan.varint()?;
        sequence = sequence.wrapping_add(scan.signed()? as u64);
        if id == wanted.0 {
            let mut rules = take_rules(&mut sets)?;
            for _ in 0..number {
                rules = take_rules(&mut sets)?;
            }
            return Ok(Some(KnownPost { rules, sequence }));
        }
        if id > wanted.0 {
            break;
        }
    }
    Ok(None)
}

fn open(bytes: &[u8]) -> Result<(ByteReader<'_>, usize, ByteReader<'_>), &'static str> {
    let mut scan = ByteReader::new(bytes);
    let crc = scan.u32()?;
    if crc32fast::hash(scan.rest()) != crc {
        return Err("block checksum does not match");
    }
    let sets = scan.u32()? as usize;
    let count = scan.u32()? as usize;
    let sets = ByteReader::new(scan.take(sets)?);
    Ok((sets, count, scan))
}

fn take_rules(from: &mut ByteReader<'_>) -> Result<Arc<[Rule]>, &'static str> {
    let count = from.varint()?;
    (0..count).map(|_| take_rule(from)).collect::<Result<Vec<_>, _>>().map(Arc::from)
}

fn take_rule(from: &mut ByteReader<'_>) -> Result<Rule, &'static str> {
    let has = from.u8()?;
    let id = if has & 1 != 0 { Some(from.u64()?) } else { None };
    let tag = if has & 2 != 0 {
        let len = from.count()?;
        Some(std::str::from_utf8(from.take(len)?).map_err(|_| "tag is not UTF-8")?.into())
    } else {
        None
    };
    Ok(Rule { id, tag })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64, tags: &[&str], sequence: u64) -> IdEntry {
        let rules = tags.iter().map(|tag| Rule { id: (tag.len() > 1).then_some(id), tag: Some((*tag).into()) });
        IdEntry { id: PostId(id), rules: rules.collect(), sequence }
    }

    #[test]
    fn id_block_round_trips() {
        let entries =
            [entry(0, &[], 7), entry(1, &["a"], u64::MAX), entry(9, &["äöü", "b"], 1), entry(u64::MAX, &["a"], 2)];
        let mut encoder = IdBlockEncoder::default();
        entries.iter().for_each(|entry| encoder.push(entry));
        let bytes = encoder.take();
        assert_eq!(decode(&bytes).as_deref(), Ok(entries.as_slice()));
        for entry in &entries {
            let known = find(&bytes, entry.id).expect("whole").expect("there");
            assert_eq!((known.rules, known.sequence), (entry.rules.clone(), entry.sequence));
        }
        assert_eq!(find(&bytes, PostId(5)), Ok(None));
        assert!(encoder.is_empty());
    }

    #[test]
    fn block_with_any_bit_flipped_is_refused() {
        let mut encoder = IdBlockEncoder::default();
        (1..50).for_each(|n| encoder.push(&entry(n * 3, &["tag"], n)));
        let bytes = encoder.take();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).is_err() && find(&damaged, PostId(3)).is_err(), "bit {bit}");
        }
        assert!(decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(decode(&[]).is_err());
    }
}
