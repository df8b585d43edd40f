//! How frames get onto the wire: a batch is a header, the shared bytes of its events, and a trailer.

use bytes::BufMut;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic_prost::ProstCodec;

use super::convert;
use crate::hub::subscription::{Batch, Content, Frame};
use crate::proto;

/// The codec of Subscribe.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameCodec;

/// Writes frames.
#[derive(Clone, Copy, Debug)]
pub struct FrameEncoder;

/// Number of `event_batch` in `SubscribeResponse`.
const EVENT_BATCH_FIELD: u32 = 3;

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = proto::SubscribeRequest;
    type Encoder = FrameEncoder;
    type Decoder = <ProstCodec<proto::SubscribeResponse, proto::SubscribeRequest> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        FrameEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<proto::SubscribeResponse, proto::SubscribeRequest>::default().decoder()
    }
}

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let Frame { token, content } = frame;
        let header = proto::SubscribeResponse { resume_token: token.unwrap_or_default(), frame: None };
        match content {
            Content::Batch(batch) => encode_batch(&header, &batch, out),
            other => {
                let response = proto::SubscribeResponse { frame: Some(convert::frame(other)), ..header };
                out.reserve(response.encoded_len());
                response.encode_raw(out);
            }
        }
        Ok(())
    }
}

fn encode_batch(header: &proto::SubscribeResponse, batch: &Batch, out: &mut EncodeBuf<'_>) {
    let trailer = proto::EventBatch {
        events: Vec::new(),
        phase: convert::phase(batch.phase).into(),
        delivered_total: batch.delivered_total,
        term: batch.term.0,
        possible_duplicate: batch.possible_duplicate,
    };
    let events = || batch.entries.iter().filter_map(|entry| entry.event()).map(|event| &event.wire);
    let length = events().map(|wire| wire.len()).sum::<usize>() + trailer.encoded_len();
    out.reserve(header.encoded_len() + 1 + encoded_len_varint(length as u64) + length);
    header.encode_raw(out);
    encode_key(EVENT_BATCH_FIELD, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
    events().for_each(|wire| out.put_slice(wire));
    trailer.encode_raw(out);
}
