//! A record as sessions read it: encoded once, shared by all.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::model::{Body, Gap, Origin, Post, Record, Rule, Sequence, Skip, Term, UnixMillis};
use crate::proto;

/// A record as sessions read it. A post is encoded once, here, and its bytes are shared by all that get it.
#[derive(Debug)]
pub struct Entry {
    /// Number of the record.
    pub sequence: Sequence,
    /// Writer of the record.
    pub term: Term,
    /// When the gateway received it.
    pub received: UnixMillis,
    /// What it tells.
    pub kind: Kind,
}

/// What an entry tells.
#[derive(Debug)]
pub enum Kind {
    /// A POST or DELTA.
    Event(Event),
    /// A gap began, changed or ended.
    Gap(Gap),
    /// Messages that could not be taken, or records that are damaged.
    Skip(Skip),
    /// A new writer: nothing to tell.
    Term,
}

/// A post, encoded.
#[derive(Debug)]
pub struct Event {
    /// The rules that matched; of a delta those of all arrivals.
    pub rules: Arc<[Rule]>,
    /// The rules logged before; only of a delta.
    pub prior: Option<Arc<[Rule]>>,
    /// How it came.
    pub origin: Origin,
    /// When it was created, if its id tells.
    pub created: Option<UnixMillis>,
    /// The record of the same post in the other log (see [`Post::beside`]).
    pub beside: Option<Sequence>,
    /// An element of `EventBatch.events`, key and length included.
    pub wire: Bytes,
}

/// Number of `events` in `EventBatch`.
const EVENTS_FIELD: u32 = 1;
/// Number of `json` in `Event`: the last, so that it can be written behind what prost encodes.
const JSON_FIELD: u32 = 15;

impl Entry {
    /// Encodes a record.
    pub fn new(record: Record) -> Self {
        let told = record.sequence;
        Self::told_as(told, record)
    }

    /// Encodes a record of a side log: on the wire it has no sequence, and belongs to no writer's term.
    pub fn side(record: Record) -> Self {
        Self { term: Term(0), ..Self::told_as(0, record) }
    }

    fn told_as(told: Sequence, record: Record) -> Self {
        let Record { sequence, term, received, body } = record;
        let kind = match body {
            Body::Post(post) => Kind::Event(Event::new(told, received, post, None)),
            Body::Delta { prior, post } => Kind::Event(Event::new(told, received, post, Some(prior))),
            Body::Gap(gap) => Kind::Gap(gap),
            Body::Skip(skip) => Kind::Skip(skip),
            Body::Term => Kind::Term,
        };
        Self { sequence, term, received, kind }
    }

    /// The post, if it is one.
    pub fn event(&self) -> Option<&Event> {
        match &self.kind {
            Kind::Event(event) => Some(event),
            Kind::Gap(_) | Kind::Skip(_) | Kind::Term => None,
        }
    }

    /// Bytes that it keeps in memory, about.
    pub fn bytes(&self) -> usize {
        const FIXED: usize = 256;
        FIXED + self.event().map_or(0, |event| event.wire.len())
    }
}

impl Event {
    fn new(sequence: Sequence, received: UnixMillis, post: Post, prior: Option<Arc<[Rule]>>) -> Self {
        let created = post.id.created_at();
        let head = proto::Event {
            sequence,
            post_id: post.id.0,
            tags: post.tags().map(ToString::to_string).collect(),
            rules: post.rules.iter().map(matched_rule).collect(),
            event_time_ms: created.map_or(0, |time| time.0),
            received_time_ms: received.0,
            origin: origin(post.origin).into(),
            gap_id: post.gap.map(|id| id.to_string()).unwrap_or_default(),
            delta: prior.is_some(),
            json: String::new(),
        };
        let Post { rules, origin, beside, json, .. } = post;
        Self { wire: encode(&head, &json), rules, prior, origin, created, beside }
    }
}

/// Writes head and payload behind one another, so that the payload is copied exactly once.
fn encode(head: &proto::Event, json: &[u8]) -> Bytes {
    let json_len = json.len() as u64;
    let json_field = 1 + encoded_len_varint(json_len) + json.len();
    let event_len = head.encoded_len() + json_field;
    let mut out = BytesMut::with_capacity(1 + encoded_len_varint(event_len as u64) + event_len);
    encode_key(EVENTS_FIELD, WireType::LengthDelimited, &mut out);
    encode_varint(event_len as u64, &mut out);
    head.encode_raw(&mut out);
    encode_key(JSON_FIELD, WireType::LengthDelimited, &mut out);
    encode_varint(json_len, &mut out);
    out.put_slice(json);
    out.freeze()
}

fn matched_rule(rule: &Rule) -> proto::MatchedRule {
    proto::MatchedRule { id: rule.id.unwrap_or(0), tag: rule.tag.as_ref().map(ToString::to_string) }
}

fn origin(origin: Origin) -> proto::Origin {
    match origin {
        Origin::Live => proto::Origin::Live,
        Origin::Backfill => proto::Origin::Backfill,
        Origin::Recovery => proto::Origin::Recovery,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GapId, PostId};

    #[test]
    fn an_entry_is_an_element_of_a_batch_byte_for_byte() {
        let json = "{\"id_str\":\"1068540203504144386\",\"text\":\"\\u00e4 \u{1f355}\"}";
        let rules: Arc<[Rule]> = [
            Rule { id: Some(7), tag: Some("cats".into()) },
            Rule { id: Some(8), tag: Some("cats".into()) },
            Rule { id: None, tag: None },
        ]
        .into();
        let post = Post {
            id: PostId(1_068_540_203_504_144_386),
            rules: rules.clone(),
            origin: Origin::Recovery,
            gap: Some(GapId(3)),
            beside: None,
            json: Bytes::from_static(json.as_bytes()),
        };
        let record = Record {
            sequence: 300,
            term: Term(1),
            received: UnixMillis(12_345),
            body: Body::Delta { prior: rules[..1].into(), post },
        };
        let entry = Entry::new(record);
        let wire = entry.event().expect("a post").wire.clone();
        let batch = proto::EventBatch::decode([&wire[..], &wire[..]].concat().as_slice()).expect("a batch");
        assert_eq!(batch.events.len(), 2, "elements of a batch are put behind one another");
        let event = &batch.events[1];
        assert_eq!(event.json, json);
        assert_eq!((event.sequence, event.post_id), (300, 1_068_540_203_504_144_386));
        assert_eq!((event.tags.as_slice(), event.rules.len()), (&["cats".to_owned()][..], 3));
        assert_eq!(event.rules[2], proto::MatchedRule { id: 0, tag: None });
        assert_eq!((event.delta, event.gap_id.as_str(), event.origin()), (true, "g3", proto::Origin::Recovery));
        assert_eq!(event.event_time_ms, 1_543_594_811_689);
    }
}
