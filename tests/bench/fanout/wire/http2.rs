//! As much of HTTP/2 as one streaming call needs: the request is written byte by byte, of the answer only the DATA is read.

use super::Fault;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
/// Settings (RFC 9113, 6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
/// RFC 9113, 6.9.1 and 6.9.2: the greatest window, and the one a connection begins with.
const WINDOW_MAX: u32 = (1 << 31) - 1;
const WINDOW_FIRST: u32 = 65_535;
const HEAD_BYTES: usize = 9;

/// How a method is called.
#[derive(Default)]
pub struct Call<'a> {
    pub authority: &'a str,
    pub path: &'a str,
    /// Asks for answers under it.
    pub encoding: Option<&'a str>,
    /// The longest frame that is taken, if longer than what all must take.
    pub frame_bytes_max: Option<u32>,
    pub message: &'a [u8],
}

/// The bytes that open a connection and call a method with one message.
pub fn call(Call { authority, path, encoding, frame_bytes_max, message }: Call<'_>) -> Vec<u8> {
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut settings = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
    settings.extend_from_slice(&WINDOW_MAX.to_be_bytes());
    if let Some(bytes) = frame_bytes_max {
        settings.extend_from_slice(&MAX_FRAME_SIZE.to_be_bytes());
        settings.extend_from_slice(&bytes.to_be_bytes());
    }
    frame(&mut out, SETTINGS, 0, 0, &settings);
    frame(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW_MAX - WINDOW_FIRST).to_be_bytes());
    let mut headers = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        header(&mut headers, name, value);
    }
    if let Some(encoding) = encoding {
        header(&mut headers, "grpc-accept-encoding", encoding);
        // By this one asks for what one accepts (the gateway's `listen.compression: asked`).
        header(&mut headers, "grpc-encoding", encoding);
    }
    frame(&mut out, HEADERS, END_HEADERS, 1, &headers);
    let mut body = vec![0];
    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
    body.extend_from_slice(message);
    frame(&mut out, DATA, END_STREAM, 1, &body);
    out
}

/// A literal field without indexing and without Huffman (RFC 7541, 6.2.2); both parts are shorter than 127 bytes.
fn header(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    for part in [name, value] {
        out.push(part.len() as u8);
        out.extend_from_slice(part.as_bytes());
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The frames of a connection.
#[derive(Default)]
pub struct Frames {
    head: Vec<u8>,
    left: usize,
    /// Payload of a frame that is no DATA.
    other: Vec<u8>,
    /// DATA taken since the windows were last filled up.
    taken: u32,
}

impl Frames {
    /// Hands on the DATA within these bytes; writes what the protocol wants answered.
    pub fn take(
        &mut self,
        mut bytes: &[u8],
        reply: &mut Vec<u8>,
        mut data: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if self.head.len() < HEAD_BYTES {
                let part = bytes.len().min(HEAD_BYTES - self.head.len());
                self.head.extend_from_slice(&bytes[..part]);
                bytes = &bytes[part..];
                if self.head.len() < HEAD_BYTES {
                    break;
                }
                self.left =
                    usize::from(self.head[0]) << 16 | usize::from(self.head[1]) << 8 | usize::from(self.head[2]);
            }
            let part;
            (part, bytes) = bytes.split_at(bytes.len().min(self.left));
            self.left -= part.len();
            if self.head[3] == DATA {
                data(part)?;
                self.taken += part.len() as u32;
            } else {
                self.other.extend_from_slice(part);
            }
            if self.left == 0 {
                self.whole(reply)?;
                self.head.clear();
                self.other.clear();
            }
        }
        Ok(())
    }

    fn whole(&mut self, reply: &mut Vec<u8>) -> Result<(), Fault> {
        let (kind, flags) = (self.head[3], self.head[4]);
        match kind {
            DATA if flags & PADDED != 0 => return Err("a padded DATA frame".into()),
            DATA | HEADERS if flags & END_STREAM != 0 => {
                return Err(format!("the stream ended: {}", String::from_utf8_lossy(&self.other).escape_debug()));
            }
            RST_STREAM | GOAWAY => return Err(format!("the stream was cut: frame {kind}, {:?}", self.other)),
            SETTINGS if flags & ACK == 0 => frame(reply, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => frame(reply, PING, ACK, 0, &self.other),
            _ => {}
        }
        if self.taken > WINDOW_MAX / 2 {
            for stream in [0, 1] {
                frame(reply, WINDOW_UPDATE, 0, stream, &self.taken.to_be_bytes());
            }
            self.taken = 0;
        }
        Ok(())
    }
}
