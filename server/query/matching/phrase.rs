//! The two readings of a phrase.

use crate::query::settings::{CjkTokens, PhraseReading, QuerySettings};
use crate::query::text::tokens::TokenText;
use crate::query::text::{chars, emoji, normal};

/// A phrase in normal form.
#[derive(Clone, Debug)]
pub(super) struct PhraseMatcher {
    words: TokenText,
    /// `#` or `$` at the start: dropped, and a place in a text that has it does not count.
    sigil: Option<char>,
    /// True if the tokens are compared instead of the characters.
    by_tokens: bool,
    cjk: CjkTokens,
}

impl PhraseMatcher {
    pub(super) fn new(text: &str, settings: &QuerySettings) -> Self {
        let text = normal::of(text);
        let sigil = text.chars().next().filter(|c| matches!(c, '#' | '$') && text.len() > 1);
        let words = TokenText::new(text[sigil.map_or(0, char::len_utf8)..].to_owned(), settings.cjk_tokens);
        // A phrase of punctuation has no tokens.
        let by_tokens = settings.phrases == PhraseReading::Tokens && !words.is_empty();
        Self { words, sigil, by_tokens, cjk: settings.cjk_tokens }
    }

    pub(super) fn occurs_in(&self, text: &TokenText) -> bool {
        if self.by_tokens {
            return text.occurrences(&self.words).any(|start| !self.has_sigil(&text.text()[..start]));
        }
        let (whole, phrase) = (text.text(), self.words.text());
        let mut from = 0;
        while let Some(found) = whole[from..].find(phrase) {
            let start = from + found;
            let end = start + phrase.len();
            if self.is_whole(&whole[..start], &whole[end..]) && !self.has_sigil(&whole[..start]) {
                return true;
            }
            from = start + phrase.chars().next().map_or(1, char::len_utf8);
            if from > whole.len() {
                return false;
            }
        }
        false
    }

    fn has_sigil(&self, before: &str) -> bool {
        self.sigil.is_some_and(|sigil| before.ends_with(sigil))
    }

    /// True if no word and no emoji continues over a border of the phrase.
    fn is_whole(&self, before: &str, after: &str) -> bool {
        let phrase = self.words.text();
        let (first, last) = (phrase.chars().next(), phrase.chars().next_back());
        let (left, right) = (before.chars().next_back(), after.chars().next());
        !self.continues(left, first) && !self.continues(right, last) && !is_inside_emoji(phrase, after)
    }

    /// True if a character next to the phrase belongs to the same word as the character at its border.
    fn continues(&self, next: Option<char>, border: Option<char>) -> bool {
        let is_single = |c: Option<char>| self.cjk == CjkTokens::Single && c.is_some_and(chars::is_cjk);
        next.is_some_and(chars::is_phrase_border) && !is_single(next) && !is_single(border)
    }
}

/// True if the last emoji of the phrase is only the beginning of a longer one (skin tone, joined emoji).
fn is_inside_emoji(phrase: &str, after: &str) -> bool {
    let Some(last) = phrase.chars().next_back().filter(|c| !c.is_ascii()) else { return false };
    let Some(next) = after.chars().next().filter(|c| !c.is_ascii()) else { return false };
    let pair: String = [last, next].into_iter().chain(after.chars().nth(1)).collect();
    emoji::sequence_len(&pair).is_some_and(|length| length > last.len_utf8())
}
