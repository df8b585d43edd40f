//! Compression that is done once for all sessions that get the same.
//!
//! gRPC compresses a message as a whole, and the end of ours is each session's own. So the shared part is compressed up to
//! a border between blocks, and the session's own follows as a last block that is stored as it is: gzip (RFC 1952) takes a
//! stored block and the checksum of all that went before it, zstd (RFC 8878) a raw block. To a client it is one ordinary
//! stream of its encoding.

use std::io::{self, Write};

use bytes::{BufMut, Bytes, BytesMut};
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress, Status};
use http::HeaderMap;
use zstd::stream::raw::CParameter;

use crate::hub::entry::batch::{CompressedBatch, EncodedBatch};

use crate::grpc::Compression as Choice;

/// An encoding of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageEncoding {
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// The level that tonic uses, too.
const GZIP_LEVEL: Compression = Compression::new(6);
/// The level that tonic uses, too.
const ZSTD_LEVEL: i32 = zstd::DEFAULT_COMPRESSION_LEVEL;
/// Magic, deflate, no flags, no time, no extra flags, unknown system (RFC 1952, 2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Chunks above this are compressed off the async threads: they take longer than a hand-over.
const INLINE_BYTES_MAX: usize = 8 << 10;

impl MessageEncoding {
    const ALL: [Self; 2] = [Self::Zstd, Self::Gzip];

    /// Its name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The encoding of the answer to a request with these headers; `None` = as it is.
    pub fn negotiate(choice: Choice, headers: &HeaderMap) -> Option<Self> {
        let named = |header: &str, encoding: Self| {
            let values = headers.get_all(header).into_iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|name| name.trim() == encoding.name())
        };
        let wanted = |encoding: &Self| match choice {
            Choice::Never => false,
            Choice::Asked => named("grpc-encoding", *encoding),
            Choice::Accepted => true,
        };
        Self::ALL.into_iter().filter(wanted).find(|encoding| named("grpc-accept-encoding", *encoding))
    }
}

/// The shared part of a chunk's messages, compressed when the first session asks for it.
pub async fn shared(
    chunk: &EncodedBatch,
    encoding: MessageEncoding,
    parts: impl Fn(&EncodedBatch) -> Vec<Bytes>,
) -> &CompressedBatch {
    let cell = match encoding {
        MessageEncoding::Gzip => &chunk.cells().gzip,
        MessageEncoding::Zstd => &chunk.cells().zstd,
    };
    let compressed = cell.get_or_init(async || {
        let parts = parts(chunk);
        let compress = move || match encoding {
            MessageEncoding::Gzip => gzip(&parts),
            MessageEncoding::Zstd => zstd(&parts),
        };
        if chunk.bytes() <= INLINE_BYTES_MAX {
            return compress();
        }
        tokio::task::spawn_blocking(compress).await.expect("compressing memory does not fail")
    });
    compressed.await
}

/// What follows the shared part: a last block that holds these bytes as they are.
pub fn session_block(shared: &CompressedBatch, encoding: MessageEncoding, own: &[u8]) -> Bytes {
    const AROUND: usize = 16;
    let mut out = BytesMut::with_capacity(AROUND + own.len());
    match encoding {
        MessageEncoding::Gzip => {
            let length = u16::try_from(own.len()).expect("a token has at most 1,024 bytes");
            out.put_u8(1);
            out.put_u16_le(length);
            out.put_u16_le(!length);
            out.put_slice(own);
            let mut crc = Hasher::new_with_initial_len(shared.crc, shared.plain_bytes as u64);
            crc.update(own);
            out.put_u32_le(crc.finalize());
            // Modulo 2^32 (RFC 1952, 2.3.1).
            out.put_u32_le((shared.plain_bytes + own.len()) as u32);
        }
        MessageEncoding::Zstd => {
            let length = u32::try_from(own.len()).expect("a token has at most 1,024 bytes");
            out.put_slice(&((length << 3) | 1).to_le_bytes()[..3]);
            out.put_slice(own);
        }
    }
    out.freeze()
}

fn gzip(parts: &[Bytes]) -> CompressedBatch {
    let plain_bytes = parts.iter().map(Bytes::len).sum();
    let mut out = Vec::with_capacity(plain_bytes / 4 + GZIP_HEADER.len());
    out.extend(GZIP_HEADER);
    let (mut deflate, mut crc) = (Compress::new(GZIP_LEVEL, false), Hasher::new());
    for part in parts {
        crc.update(part);
        run(&mut deflate, part, &mut out, FlushCompress::None);
    }
    run(&mut deflate, &[], &mut out, FlushCompress::Full);
    compressed(out, plain_bytes, crc.finalize())
}

fn run(deflate: &mut Compress, input: &[u8], out: &mut Vec<u8>, flush: FlushCompress) {
    const ROOM: usize = 1 << 10;
    let began = deflate.total_in();
    loop {
        if out.capacity() - out.len() < ROOM {
            out.reserve(out.len().max(ROOM));
        }
        let read = (deflate.total_in() - began) as usize;
        let status = deflate.compress_vec(&input[read..], out, flush).expect("memory is compressed without fail");
        let room_left = out.len() < out.capacity();
        let all_read = (deflate.total_in() - began) as usize == input.len();
        if all_read && (room_left || status == Status::BufError) {
            return;
        }
    }
}

fn zstd(parts: &[Bytes]) -> CompressedBatch {
    let plain_bytes: usize = parts.iter().map(Bytes::len).sum();
    let compress = || -> io::Result<Vec<u8>> {
        let mut encoder = zstd::Encoder::new(Vec::with_capacity(plain_bytes / 4), ZSTD_LEVEL)?;
        // A decoder keeps a window of this size for each message.
        let window = usize::BITS - plain_bytes.max(1 << 10).leading_zeros();
        encoder.set_parameter(CParameter::WindowLog(window))?;
        parts.iter().try_for_each(|part| encoder.write_all(part))?;
        encoder.flush()?;
        Ok(std::mem::take(encoder.get_mut()))
    };
    compressed(compress().expect("memory is compressed without fail"), plain_bytes, 0)
}

fn compressed(out: Vec<u8>, plain_bytes: usize, crc: u32) -> CompressedBatch {
    let bytes = out.len();
    CompressedBatch { slices: [Bytes::from(out)].into(), bytes, plain_bytes, crc }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn check(encoding: MessageEncoding, parts: &[Vec<u8>], own: &[u8]) {
        let parts: Vec<Bytes> = parts.iter().cloned().map(Bytes::from).collect();
        let shared = match encoding {
            MessageEncoding::Gzip => gzip(&parts),
            MessageEncoding::Zstd => zstd(&parts),
        };
        let stream = [&shared.slices.concat(), &session_block(&shared, encoding, own)[..]].concat();
        let mut plain = Vec::new();
        match encoding {
            MessageEncoding::Gzip => {
                flate2::read::GzDecoder::new(&stream[..]).read_to_end(&mut plain).expect("gzip");
            }
            // One frame, and nothing behind it.
            MessageEncoding::Zstd => drop(
                zstd::Decoder::new(&stream[..]).expect("zstd").single_frame().read_to_end(&mut plain).expect("zstd"),
            ),
        }
        assert_eq!(plain, [&parts.concat(), own].concat());
    }

    proptest! {
        #[test]
        fn spliced_message_is_valid_compressed_stream(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 1..6),
            times in 1_usize..40, own in prop::collection::vec(any::<u8>(), 0..1_100),
        ) {
            // The shared part of a batch has a post. Of nothing at all, zstd flushes not even a header.
            prop_assume!(parts.iter().any(|part| !part.is_empty()));
            let parts: Vec<_> = parts.into_iter().map(|part| part.repeat(times)).collect();
            check(MessageEncoding::Gzip, &parts, &own);
            check(MessageEncoding::Zstd, &parts, &own);
        }
    }

    #[test]
    fn encoding_needs_client_support_and_setting() {
        let check =
            |choice, encoding: Option<&'static str>, accept: &'static str, expected: Option<MessageEncoding>| {
                let mut headers = HeaderMap::new();
                headers.insert("grpc-accept-encoding", accept.parse().expect("a value"));
                encoding.map(|encoding| headers.insert("grpc-encoding", encoding.parse().expect("a value")));
                assert_eq!(MessageEncoding::negotiate(choice, &headers), expected, "{choice:?} {encoding:?} {accept}");
            };
        check(Choice::Asked, None, "identity, gzip", None);
        check(Choice::Asked, Some("gzip"), "identity,deflate, gzip", Some(MessageEncoding::Gzip));
        check(Choice::Asked, Some("gzip"), "identity", None);
        check(Choice::Asked, Some("identity"), "gzip", None);
        check(Choice::Accepted, None, "gzip,zstd", Some(MessageEncoding::Zstd));
        check(Choice::Accepted, None, "deflate", None);
        check(Choice::Never, Some("gzip"), "gzip", None);
    }
}
