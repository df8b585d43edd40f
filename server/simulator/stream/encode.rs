use std::collections::VecDeque;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::post_log::{EntryContent, LogEntry};
use crate::simulator::config::{Chunking, Framing};

/// Messages in, HTTP chunks out.
pub(super) struct Encoder {
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// Where chunks end, if not after messages.
    random: Option<StdRng>,
    chunks: VecDeque<Bytes>,
    /// What waits for the rest of its chunk.
    rest: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(gzip: bool, chunking: Chunking, seed: u64) -> Self {
        Self {
            gzip: gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
            random: (chunking == Chunking::Anywhere).then(|| StdRng::seed_from_u64(seed)),
            chunks: VecDeque::new(),
            rest: Vec::new(),
        }
    }

    /// The next chunk that is ready.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        self.chunks.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// True if all that was encoded has been taken.
    pub(super) fn is_drained(&self) -> bool {
        self.chunks.is_empty() && self.rest.is_empty()
    }

    pub(super) fn entry(&mut self, entry: &LogEntry) {
        match &entry.content {
            EntryContent::Post(truth) => self.post(&truth.json, entry.framing),
            EntryContent::Raw(raw) => self.message(&[raw]),
        }
    }

    pub(super) fn post(&mut self, json: &[u8], framing: Framing) {
        let (opening, delimiter) = around(framing);
        self.message(&[opening, json, delimiter]);
    }

    /// So many bytes of a post's JSON, which can be decoded, and no more.
    pub(super) fn post_up_to(&mut self, json: &[u8], framing: Framing, length: usize) {
        let bytes = self.compressed(&[around(framing).0, &json[..length.min(json.len())]]);
        self.rest.extend(bytes);
        self.flush();
    }

    /// A whole message; a reader can decode it without what follows.
    pub(super) fn message(&mut self, parts: &[&[u8]]) {
        let bytes = self.compressed(parts);
        if self.random.is_none() {
            self.chunks.push_back(bytes.into());
            return;
        }
        self.rest.extend(bytes);
        self.split();
    }

    /// Sends what waits for the rest of its chunk: nothing else comes for now.
    pub(super) fn flush(&mut self) {
        if !self.rest.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.rest).into());
        }
    }

    /// Some bytes of a message; the rest comes, or does not.
    pub(super) fn piece(&mut self, bytes: &[u8]) {
        let bytes = self.compressed(&[bytes]);
        self.rest.extend(bytes);
        self.flush();
    }

    /// The first half of a message's bytes on the wire, whose other half never comes.
    pub(super) fn half(&mut self, json: &[u8]) {
        let bytes = self.compressed(&[json, b"\r\n"]);
        self.rest.extend(&bytes[..bytes.len() / 2]);
        self.flush();
    }

    /// The end of the body.
    pub(super) fn finish(&mut self) {
        if let Some(tail) = self.gzip.take().and_then(|gzip| gzip.finish().ok()) {
            self.rest.extend(tail);
        }
        self.flush();
    }

    fn compressed(&mut self, parts: &[&[u8]]) -> Vec<u8> {
        let Some(gzip) = &mut self.gzip else { return parts.concat() };
        // Writing into memory does not fail.
        let written = parts.iter().try_for_each(|part| gzip.write_all(part)).and_then(|()| gzip.flush());
        debug_assert!(written.is_ok());
        std::mem::take(gzip.get_mut())
    }

    /// Cuts the bytes anywhere, and keeps up to half a piece for the next message.
    fn split(&mut self) {
        let Some(random) = &mut self.random else { return };
        let mut from = 0;
        loop {
            let small: bool = random.random();
            let length = random.random_range(1..if small { 16 } else { 6_000 });
            if from + length > self.rest.len() {
                break;
            }
            self.chunks.push_back(Bytes::copy_from_slice(&self.rest[from..from + length]));
            from += length;
        }
        self.rest.drain(..from);
    }
}

/// What stands around a post's JSON.
fn around(framing: Framing) -> (&'static [u8], &'static [u8]) {
    match framing {
        Framing::Lf => (b"", b"\n"),
        Framing::Array => (b"[", b"]\r\n"),
        Framing::Crlf | Framing::Pretty | Framing::Mixed => (b"", b"\r\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn wire(encoder: &mut Encoder) -> (Vec<u8>, usize) {
        let chunks: Vec<_> = std::iter::from_fn(|| encoder.pop()).collect();
        (chunks.concat(), chunks.len())
    }

    #[test]
    fn messages_are_framed_as_asked() {
        let mut encoder = Encoder::new(false, Chunking::Message, 1);
        for framing in [Framing::Crlf, Framing::Lf, Framing::Array] {
            encoder.post(b"{}", framing);
        }
        encoder.finish();
        assert_eq!(wire(&mut encoder), (b"{}\r\n{}\n[{}]\r\n".to_vec(), 3));
    }

    #[test]
    fn chunks_may_end_anywhere_and_nothing_is_lost() {
        let mut encoder = Encoder::new(false, Chunking::Anywhere, 1);
        let message = "{\"text\":\"猫\"}".repeat(300);
        for _ in 0..20 {
            encoder.message(&[message.as_bytes()]);
        }
        encoder.flush();
        let (bytes, chunks) = wire(&mut encoder);
        assert_eq!(bytes, message.repeat(20).as_bytes());
        assert!(chunks > 30, "{chunks}");
    }

    #[test]
    fn each_compressed_message_can_be_read_at_once() {
        let mut encoder = Encoder::new(true, Chunking::Message, 1);
        let mut compressed = Vec::new();
        for n in 1..=3 {
            encoder.post(b"{\"id\":1}", Framing::Crlf);
            compressed.extend(wire(&mut encoder).0);
            let mut text = [0; 64];
            let mut decoder = flate2::read::GzDecoder::new(&compressed[..]);
            decoder.read_exact(&mut text[..n * 10]).expect("a whole message");
            assert_eq!(&text[..10], b"{\"id\":1}\r\n");
        }
        encoder.finish();
        compressed.extend(wire(&mut encoder).0);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&compressed[..]).read_to_string(&mut text).expect("a whole stream");
        assert_eq!(text, "{\"id\":1}\r\n".repeat(3));
    }
}
