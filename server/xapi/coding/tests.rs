use std::io::Write;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use futures::FutureExt;
use proptest::prelude::*;

use super::*;

fn member(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("encoded");
    encoder.finish().expect("encoded")
}

/// A member whose header has every optional field.
fn member_with_header(text: &[u8]) -> Vec<u8> {
    let builder = GzBuilder::new().filename("posts.json").comment("a comment").extra(vec![1, 2, 3, 0, 0]).mtime(7);
    let mut encoder = builder.write(Vec::new(), Compression::best());
    encoder.write_all(text).expect("encoded");
    encoder.finish().expect("encoded")
}

/// Decodes the pieces; returns the text and the error after it.
fn decode(pieces: Vec<Bytes>) -> (Vec<u8>, Option<BodyErrorKind>) {
    let mut decoded = decoded(Coding::Gzip, stream::iter(pieces.into_iter().map(Ok)));
    let (mut text, mut error) = (Vec::new(), None);
    while let Some(piece) = decoded.next().now_or_never().expect("all pieces are ready") {
        match piece {
            Ok(piece) => {
                assert!(error.is_none(), "no piece follows an error");
                assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES_MAX);
                text.extend_from_slice(&piece);
            }
            Err(found) => {
                assert_eq!(error, None, "the error is returned once");
                error = Some(found.kind);
            }
        }
    }
    (text, error)
}

fn in_pieces(wire: &[u8], bytes: usize) -> Vec<Bytes> {
    wire.chunks(bytes.max(1)).map(Bytes::copy_from_slice).collect()
}

/// Bodies of every form: whole, split into single bytes, and split once at each byte (fault 07).
#[test]
fn gzip_of_any_members_decodes_however_split() {
    let lines: Vec<Vec<u8>> = (0..5).map(|n| format!("{{\"id\":{n}}}\r\n").into_bytes()).collect();
    let text = lines.concat();
    let members: Vec<u8> = lines.iter().flat_map(|line| member(line)).collect();
    let undecodable = Some(BodyErrorKind::Undecodable);
    let check = |name: &str, wire: &[u8], expected: &[u8], error| {
        for pieces in [vec![Bytes::copy_from_slice(wire)], in_pieces(wire, 1), in_pieces(wire, 7)] {
            assert_eq!(decode(pieces), (expected.to_vec(), error), "{name}");
        }
        for cut in 0..wire.len() {
            let pieces = [&wire[..cut], &wire[cut..]].map(Bytes::copy_from_slice);
            assert_eq!(decode(pieces.into()), (expected.to_vec(), error), "{name}, cut at {cut}");
        }
    };
    check("one member", &member(&text), &text, None);
    check("a member for each line", &members, &text, None);
    check("with headers", &[member_with_header(&text), members.clone()].concat(), &[&text[..], &text].concat(), None);
    check("empty members", &[member(b""), members.clone(), member(b"")].concat(), &text, None);
    check("padding", &[&members[..], &[0; 9]].concat(), &text, None);
    check("padding between members", &[&members[..], &[0; 9], &members].concat(), &[&text[..], &text].concat(), None);
    check("garbage behind", &[&members[..], b"garbage, not zeros"].concat(), &text, undecodable);
    check("no gzip at all", &text, b"", undecodable);
    check("zeros only", &[0; 30], b"", undecodable);
    check("nothing", b"", b"", None);
    let mut damaged = member(&text);
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    check("a wrong checksum", &[damaged, members.clone()].concat(), &text, undecodable);
}

/// A body that ends within a member has no error: the flushed bytes are delivered.
#[test]
fn gzip_without_its_end_ends_cleanly() {
    let mut encoder = GzEncoder::new(member(b"first "), Compression::default());
    encoder.write_all(b"second").expect("encoded");
    encoder.flush().expect("flushed");
    let flushed = encoder.get_ref().len();
    let wire = encoder.finish().expect("encoded");
    for end in flushed..=wire.len() {
        assert_eq!(decode(in_pieces(&wire[..end], 3)), (b"first second".to_vec(), None), "{end}");
    }
    for end in 0..flushed {
        let (text, error) = decode(in_pieces(&wire[..end], 3));
        assert!(b"first second".starts_with(&text) && error.is_none(), "{end}");
    }
}

/// A flushed line is decoded before the next encoded byte arrives, with one member or one per line.
#[test]
fn flushed_line_is_decoded_without_delay() {
    let line = b"{\"id\":1}\r\n";
    let mut one = GzEncoder::new(Vec::new(), Compression::default());
    let (mut of_one, mut of_many) = (Gunzip::default(), Gunzip::default());
    for _ in 0..50 {
        one.write_all(line).expect("encoded");
        one.flush().expect("flushed");
        of_one.push(std::mem::take(one.get_mut()).into());
        of_many.push(member(line).into());
        for gunzip in [&mut of_one, &mut of_many] {
            assert_eq!(gunzip.next().expect("gzip").as_deref(), Some(&line[..]));
            assert_eq!(gunzip.next().expect("gzip"), None);
        }
    }
}

/// A thousandfold expansion is decoded in pieces of bounded length, from one member or many (I9).
#[test]
fn gzip_bomb_is_decoded_in_bounded_pieces() {
    let bomb = member(&vec![b' '; 8 << 20]).repeat(3);
    assert!(bomb.len() < 64 << 10);
    let mut gunzip = Gunzip::default();
    gunzip.push(bomb.into());
    let mut total = 0;
    while let Some(piece) = gunzip.next().expect("gzip") {
        assert!(piece.len() <= PIECE_BYTES_MAX && gunzip.scratch.capacity() <= 2 * PIECE_BYTES_MAX);
        total += piece.len();
    }
    assert_eq!(total, 24 << 20);
}

#[test]
fn random_bytes_as_gzip_do_not_panic() {
    proptest!(|(wire in prop::collection::vec(any::<u8>(), 0..200), magic: bool, bytes in 1_usize..50)| {
        let wire = if magic { [&member(b"x")[..10], &wire].concat() } else { wire };
        let whole = decode(vec![wire.clone().into()]);
        prop_assert_eq!(decode(in_pieces(&wire, bytes)), whole);
    });
}

proptest! {
    /// Lines in random members, flushed or not, split at any byte, are decoded unchanged.
    #[test]
    fn any_chunking_of_members_gives_lines(
        lines in prop::collection::vec(("[a-z ]{0,300}", any::<bool>(), any::<bool>()), 1..20),
        bytes in prop::collection::vec(1_usize..200, 1..20),
    ) {
        let (mut wire, mut text) = (Vec::new(), Vec::new());
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for (line, flush, end) in &lines {
            text.extend_from_slice(line.as_bytes());
            encoder.write_all(line.as_bytes()).expect("encoded");
            if *end {
                let ended = std::mem::replace(&mut encoder, GzEncoder::new(Vec::new(), Compression::fast()));
                wire.append(&mut ended.finish().expect("encoded"));
            } else if *flush {
                encoder.flush().expect("flushed");
            }
        }
        wire.append(&mut encoder.finish().expect("encoded"));
        let (mut pieces, mut rest) = (Vec::new(), Bytes::from(wire));
        for bytes in bytes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            pieces.push(rest.split_to((*bytes).min(rest.len())));
        }
        prop_assert_eq!(decode(pieces), (text, None));
    }
}
