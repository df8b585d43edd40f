//! Posts of an account's log that a rule matches.

use std::collections::{HashSet, VecDeque};

use super::Account;
use crate::journal::{ReadError, ReadItem};
use crate::model::{KeyFilter, Post, Rule, TimeRange, UnixMillis};
use crate::query::{Facts, Query};

/// Decoded bytes of one read of the log.
const READ_BYTES: usize = 1 << 20;
/// Bytes of payloads of samples.
const SAMPLE_BYTES_MAX: usize = 1_000_000;

/// Bounds of a search.
#[derive(Clone, Copy, Debug)]
pub struct MatchLimits {
    /// Bytes of payloads that are read.
    pub bytes_max: u64,
    /// Samples.
    pub samples_max: usize,
}

/// Posts that a rule matches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatchingPosts {
    /// Receive time of the posts that were evaluated; `None` if the log has none.
    pub evaluated: Option<TimeRange>,
    /// Posts that were evaluated, each once.
    pub posts: u64,
    /// Posts that match.
    pub matches: u64,
    /// The last ones of them, the newest first.
    pub samples: Vec<(UnixMillis, Post)>,
    /// The search ended before the end of the interval.
    pub truncated: bool,
}

impl Account {
    /// Evaluates a rule on the visible posts that the log received in an interval. Blocks: call it on a blocking thread.
    pub fn match_rule(
        &self,
        query: &Query,
        range: TimeRange,
        limits: MatchLimits,
        is_visible: impl Fn(&[Rule]) -> bool,
    ) -> Result<MatchingPosts, ReadError> {
        let (reader, matcher, cjk) = (self.hub.reader(), query.matcher(), query.settings().cjk_tokens);
        let mut next = reader.seek(range.from)?;
        let (mut found, mut seen, mut bytes) = (MatchingPosts::default(), HashSet::new(), 0_u64);
        let (mut samples, mut sample_bytes) = (VecDeque::<(UnixMillis, Post)>::new(), 0);
        'log: loop {
            let batch = reader.read(next, &KeyFilter::Always, READ_BYTES)?;
            if batch.items.is_empty() && batch.next == next {
                break;
            }
            next = batch.next;
            for item in batch.items {
                let ReadItem::Record(record) = item else { continue };
                if record.received >= range.to {
                    break 'log;
                }
                let Some(post) = record.body.post() else { continue };
                if bytes >= limits.bytes_max {
                    found.truncated = true;
                    break 'log;
                }
                bytes += post.json.len() as u64;
                let first = found.evaluated.map_or(record.received, |own| own.from);
                found.evaluated =
                    Some(TimeRange::new(first, record.received.plus(std::time::Duration::from_millis(1))));
                // A delta has the same payload.
                if !is_visible(&post.rules) || !seen.insert(post.id) {
                    continue;
                }
                found.posts += 1;
                let Ok(facts) = Facts::read(&post.json, cjk) else { continue };
                if !matcher.matches(&facts) {
                    continue;
                }
                found.matches += 1;
                if limits.samples_max == 0 || post.json.len() > SAMPLE_BYTES_MAX {
                    continue;
                }
                // The payload is a slice of its block, which would stay in memory.
                let json = bytes::Bytes::copy_from_slice(&post.json);
                sample_bytes += json.len();
                samples.push_back((record.received, Post { json, ..post.clone() }));
                while samples.len() > limits.samples_max || sample_bytes > SAMPLE_BYTES_MAX {
                    sample_bytes -= samples.pop_front().map_or(0, |(_, post)| post.json.len());
                }
            }
        }
        found.samples = samples.into_iter().rev().collect();
        Ok(found)
    }
}
