//! Split of a text into tokens.

use std::ops::Range;

use super::{chars, emoji};
use crate::query::settings::CjkTokens;

/// A text in normal form with its tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenText {
    text: String,
    ranges: Vec<Range<usize>>,
}

impl TokenText {
    /// Splits a text that is in normal form.
    pub fn new(text: String, cjk: CjkTokens) -> Self {
        let ranges = split(&text, cjk);
        Self { text, ranges }
    }

    /// The text in normal form.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// True if the text has no token.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Tokens in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.ranges.iter().map(|range| &self.text[range.clone()])
    }

    /// Token at an index.
    pub fn get(&self, at: usize) -> Option<&str> {
        self.ranges.get(at).map(|range| &self.text[range.clone()])
    }

    /// Offsets of each place where the tokens of another text occur in a row.
    pub fn occurrences<'a>(&'a self, row: &'a TokenText) -> impl Iterator<Item = usize> + 'a {
        let last = (self.len() + 1).saturating_sub(row.len().max(1));
        let is_here = |at: &usize| row.iter().enumerate().all(|(next, token)| self.get(at + next) == Some(token));
        (0..last).filter(move |_| !row.is_empty()).filter(is_here).map(|at| self.ranges[at].start)
    }

    /// True if the tokens of another text occur in a row. A text without tokens occurs nowhere.
    pub fn contains_row(&self, row: &TokenText) -> bool {
        self.occurrences(row).next().is_some()
    }
}

/// Ranges of the tokens of a text, in bytes.
fn split(text: &str, cjk: CjkTokens) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut word: Option<usize> = None;
    let mut at = 0;
    // The last token is one Han or kana character, to which marks belong.
    let mut is_single = false;
    while let Some(c) = text[at..].chars().next() {
        let sequence = emoji::sequence_len(&text[at..]);
        let next = at + sequence.unwrap_or(c.len_utf8());
        let single = sequence.is_some() || (cjk == CjkTokens::Single && chars::is_cjk(c));
        if single || !chars::is_token(c) {
            ranges.extend(word.take().map(|start| start..at));
            if single {
                ranges.push(at..next);
            }
            is_single = single && sequence.is_none();
        } else if is_single && chars::is_mark(c) {
            if let Some(last) = ranges.last_mut() {
                last.end = next;
            }
        } else {
            word.get_or_insert(at);
            is_single = false;
        }
        at = next;
    }
    ranges.extend(word.map(|start| start..at));
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, cjk: CjkTokens, expected: &[&str]) {
        let tokens = TokenText::new(text.to_owned(), cjk);
        assert_eq!(tokens.iter().collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn tokens_end_at_punctuation_and_emoji() {
        let single = CjkTokens::Single;
        check("sugar-free tea's lid", single, &["sugar", "free", "tea", "s", "lid"]);
        check("snow_day #tag @name $abc", single, &["snow", "day", "tag", "name", "abc"]);
        check("cat🐈🐈cat 👍🏽", single, &["cat", "🐈", "🐈", "cat", "👍🏽"]);
        check("12 1\u{fe0f}\u{20e3}2", single, &["12", "1\u{fe0f}\u{20e3}", "2"]);
        check("猫が好きcat", single, &["猫", "が", "好", "き", "cat"]);
        check("猫が好きcat 커피", CjkTokens::Run, &["猫が好きcat", "커피"]);
        check("かﾞx", single, &["か", "ﾞ", "x"]);
        check("か\u{301}x", single, &["か\u{301}", "x"]);
        check("می\u{200c}خواهم", single, &["می\u{200c}خواهم"]);
        check(" \u{3000}…", single, &[]);
    }

    #[test]
    fn rows_are_found_at_each_place() {
        let text = TokenText::new("a b a b c".to_owned(), CjkTokens::Single);
        let row = |row: &str| {
            let row = TokenText::new(row.to_owned(), CjkTokens::Single);
            text.occurrences(&row).collect::<Vec<_>>()
        };
        assert_eq!(row("a b"), [0, 4]);
        assert_eq!(row("a b a b c"), [0]);
        assert_eq!(row("b a c"), [] as [usize; 0]);
        assert_eq!(row("a b a b c d"), [] as [usize; 0]);
        assert_eq!(row("..."), [] as [usize; 0]);
    }
}
