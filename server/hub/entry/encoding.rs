use std::ops::Range;

use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::model::{Origin, Post, Record, RecordBody, Rule, Sequence, UnixMillis};
use crate::proto;

/// Field number of `events` in `EventBatch`.
const EVENTS_FIELD: u32 = 1;

// Field numbers of `Event` and of `MatchedRule`.
const SEQUENCE: u32 = 1;
const POST_ID: u32 = 2;
const TAGS: u32 = 3;
const RULES: u32 = 4;
const EVENT_TIME: u32 = 5;
const RECEIVED_TIME: u32 = 6;
const ORIGIN: u32 = 7;
const GAP_ID: u32 = 8;
const DELTA: u32 = 9;
const JSON: u32 = 15;
const RULE_ID: u32 = 1;
const RULE_TAG: u32 = 2;

/// Maximum bytes of an event. With the other fields of a message (at most 4 KiB, of which the resume token takes 1 KiB)
/// no message exceeds 2 MiB. Clients accept 4 MiB by default, and a client that cannot accept a message can never pass
/// it.
pub const EVENT_BYTES_MAX: usize = (2 << 20) - (4 << 10);

/// Upper bound of the bytes of an event with this payload and these rules.
pub fn event_bytes(json: &[u8], rules: &[Rule]) -> usize {
    /// All numeric fields, and the frame of the event.
    const FIXED: usize = 256;
    /// Keys and lengths of a rule and its tag, and its id.
    const RULE: usize = 32;
    // Each tag is encoded in its rule and in the list of tags.
    let rules: usize = rules.iter().map(|rule| RULE + 2 * rule.tag.as_ref().map_or(0, |tag| tag.len())).sum();
    FIXED + json.len() + rules
}

/// Bytes of a key: all field numbers are below 16.
const KEY: usize = 1;

/// Layout of a record as an element of `EventBatch.events`. It is written directly, without an intermediate message,
/// because every post is encoded. Fields are in the order of their numbers; zero values are omitted.
pub(super) struct Layout<'a>(Option<EventLayout<'a>>);

struct EventLayout<'a> {
    sequence: Sequence,
    received: UnixMillis,
    post: &'a Post,
    delta: bool,
    gap_id: String,
    /// Bytes of the event without key and length.
    len: usize,
}

impl<'a> Layout<'a> {
    /// Creates the layout of a record that is sent with this sequence.
    pub(super) fn of(sequence: Sequence, record: &'a Record) -> Self {
        let (post, delta) = match &record.body {
            RecordBody::Post(post) => (post, false),
            RecordBody::Delta { post, .. } => (post, true),
            RecordBody::Gap(_) | RecordBody::Skip(_) | RecordBody::Term | RecordBody::Rules(_) => return Self(None),
        };
        let gap_id = post.gap.map(|id| id.to_string()).unwrap_or_default();
        let mut event = EventLayout { sequence, received: record.received, post, delta, gap_id, len: 0 };
        event.len = event.measure();
        Self(Some(event).filter(|event| event.len <= EVENT_BYTES_MAX))
    }

    /// Returns its bytes, key and length included; 0 if the record is no event, or one that is too long to be
    /// delivered.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |event| KEY + delimited(event.len))
    }

    /// Writes it. Returns the range in `out`.
    pub(super) fn put(&self, out: &mut Vec<u8>) -> Range<usize> {
        let start = out.len();
        if let Some(event) = &self.0 {
            out.reserve(self.len());
            encode_key(EVENTS_FIELD, WireType::LengthDelimited, out);
            encode_varint(event.len as u64, out);
            event.put(out);
        }
        start..out.len()
    }
}

impl EventLayout<'_> {
    /// Returns the numeric fields; those after `RULES` are encoded after the rules.
    fn numbers(&self) -> [(u32, u64); 6] {
        let created = self.post.id.created_at().unwrap_or_default();
        let origin = match self.post.origin {
            Origin::Live => proto::Origin::Live,
            Origin::Backfill => proto::Origin::Backfill,
            Origin::Recovery => proto::Origin::Recovery,
        };
        [
            (SEQUENCE, self.sequence),
            (POST_ID, self.post.id.0),
            // Negative numbers in two's complement, as protobuf encodes int64.
            (EVENT_TIME, created.0 as u64),
            (RECEIVED_TIME, self.received.0 as u64),
            (ORIGIN, origin as u64),
            (DELTA, u64::from(self.delta)),
        ]
    }

    fn measure(&self) -> usize {
        let numbers = self.numbers().into_iter().filter(|(_, value)| *value != 0);
        let numbers: usize = numbers.map(|(_, value)| KEY + encoded_len_varint(value)).sum();
        let tags: usize = self.post.tags().map(|tag| KEY + delimited(tag.len())).sum();
        let rules: usize = self.post.rules.iter().map(|rule| KEY + delimited(rule_len(rule))).sum();
        let gap_id = if self.gap_id.is_empty() { 0 } else { KEY + delimited(self.gap_id.len()) };
        numbers + tags + rules + gap_id + KEY + delimited(self.post.json.len())
    }

    fn put(&self, out: &mut Vec<u8>) {
        let [sequence, post_id, event_time, received_time, origin, delta] = self.numbers();
        put_number(sequence, out);
        put_number(post_id, out);
        self.post.tags().for_each(|tag| put_bytes(TAGS, tag.as_bytes(), out));
        for rule in self.post.rules.iter() {
            encode_key(RULES, WireType::LengthDelimited, out);
            encode_varint(rule_len(rule) as u64, out);
            put_number((RULE_ID, rule.id.unwrap_or(0)), out);
            if let Some(tag) = &rule.tag {
                put_bytes(RULE_TAG, tag.as_bytes(), out);
            }
        }
        put_number(event_time, out);
        put_number(received_time, out);
        put_number(origin, out);
        if !self.gap_id.is_empty() {
            put_bytes(GAP_ID, self.gap_id.as_bytes(), out);
        }
        put_number(delta, out);
        put_bytes(JSON, &self.post.json, out);
    }
}

fn rule_len(rule: &Rule) -> usize {
    let id = rule.id.filter(|id| *id != 0).map_or(0, |id| KEY + encoded_len_varint(id));
    id + rule.tag.as_ref().map_or(0, |tag| KEY + delimited(tag.len()))
}

/// Returns the bytes of a length prefix and of the bytes after it.
fn delimited(len: usize) -> usize {
    encoded_len_varint(len as u64) + len
}

fn put_number((field, value): (u32, u64), out: &mut Vec<u8>) {
    if value != 0 {
        encode_key(field, WireType::Varint, out);
        encode_varint(value, out);
    }
}

fn put_bytes(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.put_slice(bytes);
}
