//! The form in which texts are compared: composed characters (NFC), then lower case, character by character.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Appends the normal form of a text. Accents stay; no locale is used.
pub fn append(text: &str, out: &mut String) {
    if text.is_ascii() {
        let start = out.len();
        out.push_str(text);
        out[start..].make_ascii_lowercase();
    } else if is_nfc_quick(text.chars()) == IsNormalized::Yes {
        out.extend(text.chars().flat_map(char::to_lowercase));
    } else {
        out.extend(text.nfc().flat_map(char::to_lowercase));
    }
}

/// Returns the normal form of a text.
pub fn of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    append(text, &mut out);
    out
}

/// Returns a text with composed characters, in its own case.
pub fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return text.into();
    }
    text.nfc().collect::<String>().into()
}

/// Replaces `&amp;`, `&lt;` and `&gt;`, which X puts into the text of a post for `&`, `<` and `>`.
pub fn decode_entities(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let entity =
            [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')].into_iter().find(|(name, _)| rest.starts_with(name));
        let (length, c) = entity.map_or((1, '&'), |(name, c)| (name.len(), c));
        out.push(c);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_composed_and_lowered() {
        for (text, expected) in [
            ("SEÑAL", "señal"),
            ("cafe\u{301}", "café"),
            ("STRASSE", "strasse"),
            ("ß", "ß"),
            ("İI", "i\u{307}i"),
            ("ΣΑΣ", "σασ"),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn entities_are_decoded_once() {
        for (text, expected) in
            [("r&amp;d", "r&d"), ("&amp;lt;", "&lt;"), ("a & b &x;", "a & b &x;"), ("&gt;&lt;", "><")]
        {
            assert_eq!(decode_entities(text), expected, "{text}");
        }
    }
}
