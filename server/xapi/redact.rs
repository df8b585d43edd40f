//! Texts sent by upstream: they may echo the secret, and they are shown to operators and clients.

use super::sanitize::sanitize;

/// Replacement of the secret.
const MARK: &[u8] = b"[secret]";

/// Returns an upstream text that is safe to show on any surface (logs, gRPC, metrics, admin port): without the secret,
/// on one line, without characters that control a terminal or change the reading order, and bounded. Every such text
/// passes through here before it is stored. The text is bounded after the secret is removed, so that no part of it is
/// left.
pub fn shown(text: &str, secret: &str) -> String {
    sanitize(&redacted(text, secret))
}

/// Removes the secret, in any mixture of plain and percent-encoded characters, encoded once or several times. The
/// caller must have decoded JSON escapes.
pub(super) fn redacted(text: &str, secret: &str) -> String {
    let (text, plain) = (text.as_bytes(), percent_decoded(secret.as_bytes()));
    let (mut kept, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        match spelled(&text[at..], &plain).filter(|length| *length > 0) {
            Some(length) => {
                kept.extend_from_slice(MARK);
                at += length;
            }
            None => {
                kept.push(text[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Returns how many bytes at the start of the text spell `plain`, or `None`.
fn spelled(text: &[u8], plain: &[u8]) -> Option<usize> {
    plain.iter().try_fold(0, |at, byte| Some(at + character(&text[at..], *byte)?))
}

/// Returns how many bytes at the start of the text spell this byte: `/`, `%2F`, `%252f` and so on.
fn character(text: &[u8], byte: u8) -> Option<usize> {
    let encoded = text.strip_prefix(b"%").and_then(|digits| {
        let percents = 2 * digits.chunks_exact(2).take_while(|pair| pair == b"25").count();
        let end = if byte == b'%' { percents } else { percents + 2 };
        let last = digits.get(end.checked_sub(2)?..end)?;
        (hex(last) == Some(byte)).then_some(1 + end)
    });
    encoded.or_else(|| (*text.first()? == byte).then_some(1))
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u8::from_str_radix(text, 16).ok()
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let (mut decoded, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = text.get(at) {
        match text.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(hex) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_bounded_after_secret_is_removed() {
        let secret = "AAAAbearer".repeat(12);
        for before in 0..320 {
            let text = format!("{}{secret}", "x".repeat(before));
            assert!(!shown(&text, &secret).contains("AAAA"), "{before} characters before it");
        }
        assert_eq!(shown("a\u{202e}\u{9b}b\n", ""), "a\\u{202e} b");
    }

    #[test]
    fn secret_is_removed_in_every_spelling() {
        for secret in ["AA%2Fb+c%3D", "AA/b+c="] {
            for spelling in
                ["AA/b+c=", "AA%2Fb+c%3D", "AA%2fb%2Bc%3d", "AA/b%2Bc=", "AA%252Fb%252Bc%253D", "%41A/b+%63="]
            {
                assert_eq!(redacted(&format!("you sent {spelling}{spelling}."), secret), "you sent [secret][secret].");
            }
        }
        for (text, secret) in
            [("AA/b", "AA/b+c="), ("100 %", "AA"), ("%2", "/"), ("ümläut 猫 %", "x"), ("x", ""), ("", "x")]
        {
            assert_eq!(redacted(text, secret), text);
        }
        assert_eq!(redacted("%25 and %", "%"), "[secret] and [secret]");
        assert_eq!(percent_decoded(b"a%2Bb%zz%4%"), b"a+b%zz%4%");
    }

    proptest! {
        /// Each character plain, or encoded up to three times.
        #[test]
        fn no_mixture_of_encodings_is_kept(
            secret in "[ -~]{1,20}", before in "\\PC{0,10}", times in prop::collection::vec(0_usize..4, 20),
        ) {
            let spell = |(byte, times): (u8, &usize)| match times {
                0 => char::from(byte).to_string(),
                times => format!("%{}{byte:02x}", "25".repeat(times - 1)),
            };
            let plain = percent_decoded(secret.as_bytes());
            prop_assume!(plain.iter().all(|byte| byte.is_ascii() && *byte != b'%'));
            let spelling: String = plain.iter().copied().zip(&times).map(spell).collect();
            let kept = redacted(&format!("{before}{spelling}"), &secret);
            // The mark may contain a short secret.
            let rest = kept.replace("[secret]", "\0");
            prop_assert!(!rest.contains(&spelling) && rest.contains('\0'), "{}", kept);
        }
    }
}
