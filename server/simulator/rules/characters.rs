use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{
    EmojiModifier, EmojiModifierBase, EmojiPresentation, ExtendedPictographic, GeneralCategory, RegionalIndicator,
    Script,
};
use icu_properties::{CodePointMapData, CodePointSetData};

const ZERO_WIDTH_JOINER: char = '\u{200d}';
const EMOJI_VARIANT: char = '\u{fe0f}';
/// Prolonged sound mark, common to both kana.
const KANA_COMMON: [char; 2] = ['\u{30fc}', '\u{ff70}'];

/// The form in which texts and values are compared: NFC, each character in lower case.
pub(super) fn normal_form(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(text);
    composed.chars().flat_map(char::to_lowercase).collect()
}

/// Decodes the HTML entities that X puts into texts: what the author wrote is matched.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    // The ampersand last, so that `&amp;lt;` stays `&lt;`.
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").into()
}

/// True for the characters that words consist of: not punctuation, symbols, separators or controls.
pub(super) fn is_word(c: char) -> bool {
    use GeneralCategory as G;
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    !matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        G::ConnectorPunctuation
            | G::DashPunctuation
            | G::OpenPunctuation
            | G::ClosePunctuation
            | G::InitialPunctuation
            | G::FinalPunctuation
            | G::OtherPunctuation
            | G::MathSymbol
            | G::CurrencySymbol
            | G::ModifierSymbol
            | G::OtherSymbol
            | G::SpaceSeparator
            | G::LineSeparator
            | G::ParagraphSeparator
            | G::Control
    )
}

/// True for characters that may not touch a phrase: letters, digits, marks and `_`.
pub(super) fn is_border_blocking(c: char) -> bool {
    use GeneralCategory as G;
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        G::UppercaseLetter
            | G::LowercaseLetter
            | G::TitlecaseLetter
            | G::ModifierLetter
            | G::OtherLetter
            | G::NonspacingMark
            | G::SpacingMark
            | G::EnclosingMark
            | G::DecimalNumber
            | G::LetterNumber
            | G::OtherNumber
    )
}

pub(super) fn is_mark(c: char) -> bool {
    use GeneralCategory as G;
    !c.is_ascii()
        && matches!(
            CodePointMapData::<GeneralCategory>::new().get(c),
            G::NonspacingMark | G::SpacingMark | G::EnclosingMark
        )
}

/// True for ideographs and kana, which are written without spaces: each is a word.
pub(super) fn is_ideograph_or_kana(c: char) -> bool {
    let script = || CodePointMapData::<Script>::new().get(c);
    c >= '\u{2e80}'
        && (KANA_COMMON.contains(&c) || matches!(script(), Script::Han | Script::Hiragana | Script::Katakana))
}

/// Characters of the emoji at the start of the text: one, or a sequence with joiners, skin tones, variants and flags. 0 if
/// there is none.
pub(super) fn emoji_length(text: &[char]) -> usize {
    let at = |n: usize| text.get(n).copied().unwrap_or_default();
    // Most texts have none: letters need no look-up.
    if (at(0) < '\u{2000}' && !matches!(at(0), '©' | '®'))
        || matches!(at(0), '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{d7ff}')
    {
        return 0;
    }
    let is_flag = |c: char| CodePointSetData::new::<RegionalIndicator>().contains(c);
    if is_flag(at(0)) {
        return if is_flag(at(1)) { 2 } else { 1 };
    }
    let is_tone = |c: char| CodePointSetData::new::<EmojiModifier>().contains(c);
    let starts = CodePointSetData::new::<EmojiPresentation>().contains(at(0))
        || (at(1) == EMOJI_VARIANT && is_pictograph(at(0)))
        || (is_tone(at(1)) && CodePointSetData::new::<EmojiModifierBase>().contains(at(0)));
    if !starts {
        return 0;
    }
    let mut length = 1;
    loop {
        let next = at(length);
        if is_tone(next) || next == EMOJI_VARIANT || matches!(next, '\u{20e3}' | '\u{e0020}'..='\u{e007f}') {
            length += 1;
        } else if next == ZERO_WIDTH_JOINER && is_pictograph(at(length + 1)) {
            length += 2;
        } else {
            return length;
        }
    }
}

fn is_pictograph(c: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_form_composes_and_ignores_case() {
        for (text, expected) in [
            ("CAFE\u{301}", "caf\u{e9}"),
            ("Straße", "straße"),
            ("İ", "i\u{307}"),
            ("КНИГА", "книга"),
            ("e\u{301}E", "\u{e9}e"),
        ] {
            assert_eq!(normal_form(text), expected, "{text}");
        }
        assert_eq!(decoded("a &amp;lt; b &lt;&gt; c &quot;"), "a &lt; b <> c &quot;");
    }

    #[test]
    fn emoji_sequence_is_one_emoji() {
        for (text, expected) in [
            ("🐈🐈", 1),
            ("👍🏽x", 2),
            ("👩\u{200d}👩\u{200d}👧!", 5),
            ("☀\u{fe0f}", 2),
            ("☀", 0),
            ("☝🏽", 2),
            ("🇫🇷🇩🇪", 2),
            ("🇫", 1),
            ("👩\u{200d}x", 1),
            ("a", 0),
            ("1", 0),
            ("©", 0),
            ("", 0),
        ] {
            let text: Vec<char> = text.chars().collect();
            assert_eq!(emoji_length(&text), expected, "{text:?}");
        }
    }
}
