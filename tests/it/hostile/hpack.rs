//! Decodes header blocks (RFC 7541) of a peer that may not use a dynamic table.

/// Names of the static table (RFC 7541, A), from index 1.
const NAMES: [&str; 61] = [
    ":authority",
    ":method",
    ":method",
    ":path",
    ":path",
    ":scheme",
    ":scheme",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
];

/// Index of the first `:status` of the static table, and the values from there on.
const STATUSES: (usize, [&str; 7]) = (8, ["200", "204", "206", "304", "400", "404", "500"]);

/// Lengths of the Huffman codes (RFC 7541, B), by symbol, as runs. The code is canonical: codes of one length follow each
/// other in the order of their symbols.
const CODE_LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];
const LENGTH_MAX: usize = 30;

/// The fields of a block; `None` if it is malformed, or refers to a dynamic table.
pub fn decode(mut block: &[u8]) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    while let Some(&first) = block.first() {
        match first {
            0x80.. => {
                let index = integer(&mut block, 7)?;
                fields.push((name(index)?, value(index)?));
            }
            // A change of the size of the dynamic table.
            0x20..=0x3f => drop(integer(&mut block, 5)?),
            _ => {
                let index = integer(&mut block, if first & 0x40 == 0 { 4 } else { 6 })?;
                let name = if index == 0 { text(&mut block)? } else { name(index)? };
                fields.push((name, text(&mut block)?));
            }
        }
    }
    Some(fields)
}

fn name(index: usize) -> Option<String> {
    NAMES.get(index.checked_sub(1)?).map(ToString::to_string)
}

fn value(index: usize) -> Option<String> {
    let (first, values) = STATUSES;
    Some(index.checked_sub(first).and_then(|at| values.get(at)).copied().unwrap_or_default().to_owned())
}

fn integer(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let most = (1 << prefix) - 1;
    let mut value = usize::from(take(block)?) & most;
    if value == most {
        for shift in [0, 7, 14, 21] {
            let byte = take(block)?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        return None;
    }
    Some(value)
}

fn take(block: &mut &[u8]) -> Option<u8> {
    let (first, rest) = block.split_first()?;
    *block = rest;
    Some(*first)
}

fn text(block: &mut &[u8]) -> Option<String> {
    let huffman = block.first()? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length)?;
    *block = rest;
    let bytes = if huffman { unpack(bytes)? } else { bytes.to_vec() };
    String::from_utf8(bytes).ok()
}

/// Decodes a canonical Huffman code, bit by bit.
fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut counts = [0_usize; LENGTH_MAX + 1];
    CODE_LENGTHS.iter().for_each(|length| counts[usize::from(*length)] += 1);
    let mut symbols: Vec<usize> = (0..CODE_LENGTHS.len()).collect();
    symbols.sort_by_key(|symbol| (CODE_LENGTHS[*symbol], *symbol));
    let (mut bytes, mut code, mut first, mut index, mut length) = (Vec::new(), 0, 0, 0, 0);
    for bit in packed.iter().flat_map(|byte| (0..8).rev().map(move |at| usize::from(byte >> at & 1))) {
        (code, first, length) = (code << 1 | bit, first << 1, length + 1);
        let count = *counts.get(length)?;
        if code < first + count {
            bytes.push(u8::try_from(symbols[index + code - first]).ok()?);
            (code, first, index, length) = (0, 0, 0, 0);
        } else {
            (index, first) = (index + count, first + count);
        }
    }
    // What is left is padding: fewer than eight bits, all of them set.
    (length < 8 && code + 1 == 1 << length).then_some(bytes)
}

/// Examples of RFC 7541, C.4.1 and C.6.1.
#[test]
fn header_block_is_decoded_by_rfc() {
    let host = [0x01, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
    let status = [0x08, 0x82, 0x64, 0x02, 0x88];
    for (block, expected) in [
        (host.as_slice(), Some([(":authority", "www.example.com")].as_slice())),
        (&status, Some(&[(":status", "302"), (":status", "200")])),
        (&[0x3f, 0xe1, 0x1f, 0x8d], Some(&[(":status", "404")])),
        (&[0xbe], None),
        (&host[..9], None),
    ] {
        let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        assert_eq!(decode(block), expected.map(|fields| fields.iter().map(own).collect()), "{block:x?}");
    }
}
