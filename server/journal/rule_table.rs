//! Rules of a block, each stored once: a table of rules, and the sets of them that its records refer to by number.
//!
//! It precedes the compressed payload, so that the index of a segment can be rebuilt without decompression.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::codec::{ByteReader, DecodeError, put_varint};
use crate::model::Rule;

const HAS_ID: u8 = 1;
const HAS_TAG: u8 = 2;

/// Assigns numbers to rules, in the order in which they are first seen.
#[derive(Debug, Default)]
pub(super) struct RuleInterner {
    numbers: HashMap<Rule, u32, FixedState>,
}

impl RuleInterner {
    /// Returns the number of the rule; a new rule is added to `table`.
    pub(super) fn number(&mut self, rule: &Rule, table: &mut Vec<Rule>) -> u32 {
        if let Some(&number) = self.numbers.get(rule) {
            return number;
        }
        let number = table.len() as u32;
        self.numbers.insert(rule.clone(), number);
        table.push(rule.clone());
        number
    }

    pub(super) fn clear(&mut self) {
        self.numbers.clear();
    }
}

/// Table of a block being encoded.
#[derive(Default)]
pub(super) struct RuleTableBuilder {
    numbering: RuleInterner,
    rules: Vec<Rule>,
    sets: HashMap<Arc<[Rule]>, u32, FixedState>,
    sets_encoded: Vec<u8>,
}

impl RuleTableBuilder {
    /// Returns the number of this set of rules.
    pub(super) fn set(&mut self, rules: &Arc<[Rule]>) -> u32 {
        if let Some(&number) = self.sets.get(rules) {
            return number;
        }
        let number = self.sets.len() as u32;
        self.sets.insert(rules.clone(), number);
        put_varint(&mut self.sets_encoded, rules.len() as u64);
        for rule in &**rules {
            put_varint(&mut self.sets_encoded, u64::from(self.numbering.number(rule, &mut self.rules)));
        }
        number
    }

    /// Returns the rules so far.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Appends the table to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        encode_rules(&self.rules, out);
        put_varint(out, self.sets.len() as u64);
        out.extend_from_slice(&self.sets_encoded);
    }

    pub(super) fn clear(&mut self) {
        self.numbering.clear();
        self.rules.clear();
        self.sets.clear();
        self.sets_encoded.clear();
    }
}

/// Appends a list of rules to `out`.
pub(super) fn encode_rules(rules: &[Rule], out: &mut Vec<u8>) {
    put_varint(out, rules.len() as u64);
    for rule in rules {
        let flags = if rule.id.is_some() { HAS_ID } else { 0 } | if rule.tag.is_some() { HAS_TAG } else { 0 };
        out.push(flags);
        if let Some(id) = rule.id {
            out.extend_from_slice(&id.to_le_bytes());
        }
        if let Some(tag) = &rule.tag {
            put_varint(out, tag.len() as u64);
            out.extend_from_slice(tag.as_bytes());
        }
    }
}

/// Reads a list of rules.
pub(super) fn decode_rules(input: &mut ByteReader<'_>) -> Result<Vec<Rule>, DecodeError> {
    let count = input.count()?;
    let mut rules = Vec::with_capacity(count);
    for _ in 0..count {
        let flags = input.u8()?;
        let id = if flags & HAS_ID != 0 { Some(input.u64()?) } else { None };
        let tag = if flags & HAS_TAG != 0 {
            let length = input.count()?;
            Some(std::str::from_utf8(input.take(length)?).map_err(|_| DecodeError)?.into())
        } else {
            None
        };
        rules.push(Rule { id, tag });
    }
    Ok(rules)
}

/// Decoded table of a block.
#[derive(Debug, Default)]
pub(super) struct RuleTable {
    /// The rules, by number.
    pub(super) rules: Vec<Rule>,
    /// The sets of rules, by number.
    pub(super) sets: Vec<Arc<[Rule]>>,
}

impl RuleTable {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = ByteReader::new(bytes);
        let rules = decode_rules(&mut input)?;
        let count = input.count()?;
        let mut sets = Vec::with_capacity(count);
        for _ in 0..count {
            let length = input.count()?;
            let mut set = Vec::with_capacity(length);
            for _ in 0..length {
                let number = usize::try_from(input.varint()?).map_err(|_| DecodeError)?;
                set.push(rules.get(number).ok_or(DecodeError)?.clone());
            }
            sets.push(set.into());
        }
        if input.is_at_end() { Ok(Self { rules, sets }) } else { Err(DecodeError) }
    }
}
