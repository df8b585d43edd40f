//! Records for the tests of this room.

use bytes::Bytes;

use crate::model::{Body, Origin, Post, PostId, Record, Rule, Sequence, Skip, SkipReason, Term, UnixMillis, Window};

/// A live post with these tags; its rules are numbered from 1.
pub fn post_record(sequence: Sequence, tags: &[&str]) -> Record {
    let rules = tags.iter().enumerate().map(|(at, tag)| Rule { id: Some(at as u64 + 1), tag: Some((*tag).into()) });
    let post = Post {
        id: PostId(1_000_000_000_000 + sequence),
        rules: rules.collect(),
        origin: Origin::Live,
        gap: None,
        json: Bytes::from(format!("{{\"n\":{sequence}}}")),
    };
    record(sequence, Body::Post(post))
}

/// One malformed message.
pub fn skip_record(sequence: Sequence) -> Record {
    let time = UnixMillis(sequence as i64);
    let window = Window { from: time, to: Some(time) };
    record(sequence, Body::Skip(Skip { reason: SkipReason::Malformed, count: 1, window }))
}

fn record(sequence: Sequence, body: Body) -> Record {
    Record { sequence, term: Term(1), received: UnixMillis(sequence as i64), body }
}
