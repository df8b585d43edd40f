//! Classes of characters.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use super::emoji;

/// True for white space that separates terms, of any script.
pub fn is_space(c: char) -> bool {
    match c {
        ' ' | '\t' | '\r' | '\n' => true,
        c if c.is_ascii() => false,
        c => c.general_category_group() == GeneralCategoryGroup::Separator,
    }
}

/// True for white space that looks like a space and is another character (no-break space, ideographic space).
pub fn is_odd_space(c: char) -> bool {
    !c.is_ascii() && is_space(c)
}

/// True for characters without width that separate nothing: they become part of a word that then matches no text.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}')
}

/// True for control characters other than tab and line breaks.
pub fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\r' | '\n')
}

/// True for punctuation and symbols that are not emoji.
pub fn is_punctuation(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_punctuation();
    }
    use GeneralCategoryGroup::{Punctuation, Symbol};
    matches!(c.general_category_group(), Punctuation | Symbol) && !emoji::is_base(c)
}

/// True for characters of a token: neither punctuation, symbol, separator nor control.
pub fn is_token(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    use GeneralCategoryGroup::{Punctuation, Separator, Symbol};
    !c.is_control() && !matches!(c.general_category_group(), Punctuation | Symbol | Separator)
}

/// True for characters that may not be directly before or after a phrase: letters, digits, marks and `_`.
pub fn is_phrase_border(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    use GeneralCategoryGroup::{Letter, Mark, Number};
    matches!(c.general_category_group(), Letter | Mark | Number)
}

/// True for combining marks.
pub fn is_mark(c: char) -> bool {
    !c.is_ascii() && c.general_category_group() == GeneralCategoryGroup::Mark
}

/// True for Han, Hiragana and Katakana characters.
pub fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}')
        && is_token(c)
}

/// True for letters of scripts that put no space between words: those of [`is_cjk`], Thai, Lao, Khmer, Burmese.
pub fn is_spaceless(c: char) -> bool {
    is_cjk(c)
        || matches!(c,
            '\u{e01}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{19e0}'..='\u{19ff}'
            | '\u{a9e0}'..='\u{a9ff}' | '\u{aa60}'..='\u{aa7f}')
            && is_token(c)
}

/// True for characters that take two columns of a terminal.
pub fn is_wide(c: char) -> bool {
    is_cjk(c)
        || emoji::is_base(c)
        || matches!(c, '\u{1100}'..='\u{115f}' | '\u{3000}'..='\u{303e}' | '\u{ac00}'..='\u{d7a3}' | '\u{ff01}'..='\u{ff60}')
}

/// Returns the closing counterparts of a typographic or single quote.
pub fn closing_quotes(open: char) -> Option<&'static [char]> {
    Some(match open {
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' | '\u{2033}' => &['\u{201d}', '\u{201c}', '\u{2033}', '"'],
        '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' => &['\'', '\u{2019}', '\u{2018}'],
        '\u{ab}' | '\u{bb}' => &['\u{bb}', '\u{ab}'],
        '\u{2039}' | '\u{203a}' => &['\u{203a}', '\u{2039}'],
        '\u{300c}' => &['\u{300d}'],
        '`' | '\u{b4}' => &['`', '\u{b4}', '\''],
        _ => return None,
    })
}

/// True for typographic double quotes, which close no phrase.
pub fn is_double_quote(c: char) -> bool {
    matches!(c, '\u{201c}'..='\u{201f}')
}

/// True for dashes that text editors put in place of a minus sign.
pub fn is_dash(c: char) -> bool {
    matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' | '\u{ff0d}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_unicode_categories() {
        for c in ['a', '0', 'é', 'ñ', '猫', 'か', '\u{301}', '\u{200c}', 'ـ'] {
            assert!(is_token(c), "{c:?}");
        }
        for c in ['_', '-', '$', '+', ' ', '\u{a0}', '\u{3000}', '\0', '…', '🐈', '。'] {
            assert!(!is_token(c), "{c:?}");
        }
        for c in ['_', '$', '«', '€', '…', '・'] {
            assert!(is_punctuation(c), "{c:?}");
        }
        assert!(!is_punctuation('🐈') && !is_punctuation('a') && !is_cjk('・') && !is_cjk('한'));
        assert!(is_spaceless('ก') && is_spaceless('カ') && !is_spaceless('한'));
        assert!(is_odd_space('\u{a0}') && !is_odd_space('\n') && is_control('\u{85}') && !is_control('\t'));
        assert!(is_phrase_border('_') && is_phrase_border('\u{301}') && !is_phrase_border('-'));
    }
}
