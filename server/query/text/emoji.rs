//! Emoji sequences: one emoji with its variants, joined emoji, flags and keycaps count as one token.

use unicode_properties::emoji::{
    UnicodeEmoji, is_emoji_presentation_selector, is_regional_indicator, is_tag_character, is_zwj,
};

const KEYCAP: char = '\u{20e3}';

/// True for characters that are an emoji without a variation selector.
pub fn is_base(c: char) -> bool {
    c >= '\u{2190}' && c.is_emoji_char() && !matches!(c, '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}')
}

/// Returns the length in bytes of the emoji sequence at the start of a text, or `None` if it starts with another
/// character.
pub fn sequence_len(text: &str) -> Option<usize> {
    // ASCII before ASCII is no emoji: the common case.
    if let [first, rest @ ..] = text.as_bytes()
        && first.is_ascii()
        && rest.first().is_none_or(u8::is_ascii)
    {
        return None;
    }
    let mut chars = text.char_indices().peekable();
    let (_, first) = chars.next()?;
    let mut has_selector = chars.next_if(|(_, c)| is_emoji_presentation_selector(*c)).is_some();
    if first.is_ascii() {
        let is_keycap = first.is_ascii_digit() || matches!(first, '#' | '*');
        let (at, _) = chars.next_if(|(_, c)| is_keycap && *c == KEYCAP)?;
        return Some(at + KEYCAP.len_utf8());
    }
    let is_emoji = is_base(first) || (has_selector && first.is_emoji_char());
    if !is_emoji {
        return None;
    }
    if is_regional_indicator(first) {
        chars.next_if(|(_, c)| is_regional_indicator(*c));
        return Some(chars.peek().map_or(text.len(), |(at, _)| *at));
    }
    loop {
        let is_extension = |c: char| is_modifier(c) || c == KEYCAP || is_tag_character(c);
        if chars.next_if(|(_, c)| is_extension(*c)).is_some() {
            continue;
        }
        if !has_selector && chars.next_if(|(_, c)| is_emoji_presentation_selector(*c)).is_some() {
            has_selector = true;
            continue;
        }
        let mut ahead = chars.clone();
        if ahead.next().is_some_and(|(_, c)| is_zwj(c)) && ahead.next().is_some_and(|(_, c)| is_joined(c)) {
            chars = ahead;
            has_selector = false;
            continue;
        }
        return Some(chars.peek().map_or(text.len(), |(at, _)| *at));
    }
}

/// True for the skin tones.
fn is_modifier(c: char) -> bool {
    matches!(c, '\u{1f3fb}'..='\u{1f3ff}')
}

/// True for emoji that may follow a joiner, such as U+2640 (female sign).
fn is_joined(c: char) -> bool {
    !c.is_ascii() && c.is_emoji_char()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(sequence_len(text).map(|len| &text[..len]), expected, "{text}");
    }

    #[test]
    fn sequences_are_single_emoji() {
        check("🐈🐈", Some("🐈"));
        check("👍🏽x", Some("👍🏽"));
        check("👨‍👩‍👧‍👦 x", Some("👨‍👩‍👧‍👦"));
        check("❤\u{fe0f}\u{200d}🔥!", Some("❤\u{fe0f}\u{200d}🔥"));
        check("🇩🇪🇫🇷", Some("🇩🇪"));
        check("1\u{fe0f}\u{20e3}2", Some("1\u{fe0f}\u{20e3}"));
        check("⚽", Some("⚽"));
        check("©\u{fe0f}", Some("©\u{fe0f}"));
        check("🐈\u{200d}x", Some("🐈"));
        for other in ["1", "©", "a", "猫", "", "\u{200d}", "→x"] {
            check(other, None);
        }
    }
}
