//! What X sends, and how it comes in pieces.

use std::sync::Arc;

use bytes::Bytes;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::model::PostId;

use crate::posts::{Numbers, json};

/// Posts of 200 rules, as the other benchmarks have them.
const RULES: u64 = 200;

/// Rules that a post matches: `RULES_PER_POST`, one without it.
fn rules_per_post() -> u64 {
    std::env::var("RULES_PER_POST").map_or(1, |count| count.parse().expect("a number"))
}

fn rules_of(rule: u64, count: u64) -> String {
    let one = |rule: u64| {
        let id = 1_600_000_000_000_000_000 + rule;
        format!(r#"{{"tag":"topic-{rule}","id":{id},"id_str":"{id}"}}"#)
    };
    (rule..rule + count).map(one).collect::<Vec<_>>().join(",")
}

/// One post per line.
pub struct Wire {
    pub bytes: Bytes,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Wire {
    pub fn new(count: u64) -> Self {
        let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
        let first = PostId::lowest_at(Clock::system().now()).0;
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for n in 0..count {
            // 128 in a millisecond.
            let post = json(&mut numbers, first + (n << 15));
            let rule = numbers.below(RULES);
            bytes.extend_from_slice(&post.as_bytes()[..post.len() - 1]);
            let rules = format!(r#","matching_rules":[{}]}}"#, rules_of(rule, rules_per_post()));
            bytes.extend_from_slice(rules.as_bytes());
            bytes.extend_from_slice(b"\r\n");
            ends.push(bytes.len());
        }
        Self { bytes: bytes.into(), ends }
    }

    /// As HTTP chunks deliver it.
    pub fn by_post(&self) -> Arc<[Bytes]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, to)| self.bytes.slice(from..*to)).collect()
    }

    pub fn by_size(&self, size: usize) -> Arc<[Bytes]> {
        let starts = (0..self.bytes.len()).step_by(size);
        starts.map(|from| self.bytes.slice(from..(from + size).min(self.bytes.len()))).collect()
    }
}
