//! Encodes frames as messages: a batch is a head, the shared bytes of its events, and a suffix of the session.
//!
//! Protobuf accepts fields in any order. The fields that all sessions of a fan-out group share come first, those of the session
//! last: its count of delivered events (of fixed width, because the length in front of the batch covers it) and its token.

use std::fmt::Write;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::compress::{self, MessageEncoding};
use super::message::EncodedMessage;
use crate::grpc::convert;
use crate::hub::entry::EVENT_BYTES_MAX;
use crate::hub::entry::batch::EncodedBatch;
use crate::hub::session::{EventBatch, Frame, FrameContent};
use crate::hub::token::ResumeToken;
use crate::model::Term;
use crate::proto;

/// Bytes around the events of a message: prefix, head, shared suffix and token, each at its longest.
const AROUND_BYTES_MAX: usize = 64 + ResumeToken::CHARS_MAX;
/// No message exceeds 2 MiB (contract, section 7).
const _: () = assert!(EVENT_BYTES_MAX + AROUND_BYTES_MAX <= 2 << 20);

/// Number of `resume_token` in `SubscribeResponse`.
const RESUME_TOKEN: u32 = 1;
/// Number of `event_batch` in `SubscribeResponse`.
const EVENT_BATCH: u32 = 3;
/// Number of `term` in `EventBatch`.
const TERM: u32 = 4;
/// Bytes of the text of a term.
const TERM_CHARS: usize = 16;
/// Number of `delivered_total` in `EventBatch`.
const DELIVERED_TOTAL: u32 = 3;
/// Bytes of `delivered_total`: a key and eight of value.
const DELIVERED_TOTAL_BYTES: usize = 9;
/// A gRPC message begins with a flag (compressed or not) and its length.
const PREFIX_BYTES: usize = 5;

/// Encodes a frame, compressed if it is a batch and an encoding was negotiated.
pub async fn message(frame: Frame, encoding: Option<MessageEncoding>) -> EncodedMessage {
    let Frame { token, content } = frame;
    let token = token.unwrap_or_default();
    match (content, encoding) {
        (FrameContent::Batch(batch), None) => plain_batch(&batch, &token),
        (FrameContent::Batch(batch), Some(encoding)) => compressed_batch(&batch, &token, encoding).await,
        (FrameContent::OpenGaps(gaps), _) => {
            let one = |gap| convert::frame(FrameContent::Gap { sequence: 0, gap });
            let one = |gap| proto::SubscribeResponse { resume_token: String::new(), frame: Some(one(gap)) };
            whole(gaps.into_iter().map(one))
        }
        (other, _) => {
            let response = proto::SubscribeResponse { resume_token: token, frame: Some(convert::frame(other)) };
            whole(std::iter::once(response))
        }
    }
}

/// Encodes responses one after another.
fn whole(responses: impl Iterator<Item = proto::SubscribeResponse>) -> EncodedMessage {
    let mut out = BytesMut::new();
    for response in responses {
        let length = response.encoded_len();
        out.reserve(PREFIX_BYTES + length);
        put_prefix(false, length, &mut out);
        response.encode_raw(&mut out);
    }
    out.freeze().into()
}

fn put_prefix(compressed: bool, length: usize, out: &mut BytesMut) {
    out.put_u8(u8::from(compressed));
    out.put_u32(u32::try_from(length).expect("a batch has a bound far below 4 GiB"));
}

/// Fields behind the events that are the same for all sessions of a fan-out group.
struct SharedSuffix {
    /// The fields but `term`, which would cost each message an allocation.
    fields: proto::EventBatch,
    /// Absent for events of a private gap.
    term: Option<Term>,
}

impl SharedSuffix {
    fn of(chunk: &EncodedBatch) -> Self {
        let fields = proto::EventBatch {
            phase: convert::phase(chunk.phase).into(),
            possible_duplicate: chunk.possible_duplicate,
            ..proto::EventBatch::default()
        };
        Self { fields, term: Some(chunk.term).filter(|term| *term != Term(0)) }
    }

    fn len(&self) -> usize {
        let term = self.term.map_or(0, |_| key_len(TERM) + encoded_len_varint(TERM_CHARS as u64) + TERM_CHARS);
        self.fields.encoded_len() + term
    }

    fn put(&self, out: &mut BytesMut) {
        self.fields.encode_raw(out);
        if let Some(term) = self.term {
            encode_key(TERM, WireType::LengthDelimited, out);
            encode_varint(TERM_CHARS as u64, out);
            write!(out, "{term}").expect("a buffer takes any text");
        }
    }
}

/// Appends key and length of the batch, which precede the events.
fn put_head(chunk: &EncodedBatch, suffix: &SharedSuffix, out: &mut BytesMut) {
    encode_key(EVENT_BATCH, WireType::LengthDelimited, out);
    encode_varint(batch_len(chunk, suffix), out);
}

fn head_len(chunk: &EncodedBatch, suffix: &SharedSuffix) -> usize {
    key_len(EVENT_BATCH) + encoded_len_varint(batch_len(chunk, suffix))
}

fn batch_len(chunk: &EncodedBatch, suffix: &SharedSuffix) -> u64 {
    (chunk.bytes() + suffix.len() + DELIVERED_TOTAL_BYTES) as u64
}

/// Appends the fields of the session.
fn put_session_suffix(batch: &EventBatch, token: &str, out: &mut BytesMut) {
    encode_key(DELIVERED_TOTAL, WireType::SixtyFourBit, out);
    out.put_u64_le(batch.delivered_total);
    encode_key(RESUME_TOKEN, WireType::LengthDelimited, out);
    encode_varint(token.len() as u64, out);
    out.put_slice(token.as_bytes());
}

fn plain_batch(batch: &EventBatch, token: &str) -> EncodedMessage {
    /// Prefix, head, shared suffix and the key of the token, each at its longest.
    const AROUND: usize = 64;
    let chunk = &batch.chunk;
    let shared = SharedSuffix::of(chunk);
    let mut out = BytesMut::with_capacity(AROUND + token.len());
    shared.put(&mut out);
    put_session_suffix(batch, token, &mut out);
    let tail = out.split().freeze();
    put_prefix(false, head_len(chunk, &shared) + chunk.bytes() + tail.len(), &mut out);
    put_head(chunk, &shared, &mut out);
    EncodedMessage::new(out.freeze(), chunk.slices().clone(), tail)
}

async fn compressed_batch(batch: &EventBatch, token: &str, encoding: MessageEncoding) -> EncodedMessage {
    let shared = compress::shared(&batch.chunk, encoding, plain_parts).await;
    let mut own = BytesMut::with_capacity(DELIVERED_TOTAL_BYTES + 3 + token.len());
    put_session_suffix(batch, token, &mut own);
    let end = compress::session_block(shared, encoding, &own);
    let mut head = BytesMut::with_capacity(PREFIX_BYTES);
    put_prefix(true, shared.bytes + end.len(), &mut head);
    EncodedMessage::new(head.freeze(), shared.slices.clone(), end)
}

/// Returns the parts that all sessions share, in the order in which they are compressed.
fn plain_parts(chunk: &EncodedBatch) -> Vec<Bytes> {
    let shared = SharedSuffix::of(chunk);
    let mut head = BytesMut::new();
    put_head(chunk, &shared, &mut head);
    let slices: &Arc<[Bytes]> = chunk.slices();
    let mut parts = vec![head.freeze()];
    parts.extend(slices.iter().cloned());
    let mut suffix = BytesMut::with_capacity(shared.len());
    shared.put(&mut suffix);
    parts.push(suffix.freeze());
    parts
}
