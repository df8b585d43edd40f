//! Splits a rule into pieces, and reports characters that belong to none.

use std::borrow::Cow;

use super::piece::{Lexeme, Piece, Quoted, RawOperator, RawValue};
use crate::query::finding::{Code, Draft, Span, quote_text};
use crate::query::operator::{Operator, find, unknown};
use crate::query::text::{chars, emoji};

/// Bytes of a rule for each piece, as an estimate for the memory of all pieces.
const PIECE_BYTES: usize = 6;

/// Returns the pieces of a rule.
pub(super) fn split<'a>(text: &'a str, found: &mut Vec<Draft>) -> Vec<Piece<'a>> {
    let mut lexer = Lexer { text, at: 0, found, unpaired: Vec::new() };
    let mut pieces = Vec::with_capacity(text.len() / PIECE_BYTES + 1);
    while let Some(c) = lexer.peek() {
        let start = lexer.at;
        if let Some(lexeme) = lexer.next(c) {
            pieces.push(Piece { span: start..lexer.at, lexeme });
        }
    }
    pieces
}

struct Lexer<'a, 'f> {
    text: &'a str,
    at: usize,
    found: &'f mut Vec<Draft>,
    /// Quote characters that have no counterpart before a place.
    unpaired: Vec<(char, usize)>,
}

impl<'a> Lexer<'a, '_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// Consumes the characters that satisfy a condition.
    fn skip(&mut self, is_wanted: impl Fn(char) -> bool) -> Span {
        let start = self.at;
        let rest = &self.text[start..];
        self.at += rest.find(|c| !is_wanted(c)).unwrap_or(rest.len());
        start..self.at
    }

    fn next(&mut self, c: char) -> Option<Lexeme<'a>> {
        let start = self.at;
        if chars::is_space(c) || chars::is_control(c) {
            self.at += c.len_utf8();
            return None;
        }
        if c.is_ascii_alphabetic() {
            return Some(self.word());
        }
        if let Some(length) = emoji::sequence_len(&self.text[start..]) {
            self.at += length;
            return Some(Lexeme::Emoji);
        }
        let single = match c {
            '(' => Some(Lexeme::Open),
            ')' => Some(Lexeme::Close),
            _ => None,
        };
        if single.is_some() {
            self.at += 1;
            return single;
        }
        Some(match c {
            '"' => Lexeme::Phrase(self.phrase()),
            '-' => self.minus(),
            '@' | '#' | '$' => self.sigil(c),
            _ => match self.foreign_quotes(c) {
                Some(quoted) => Lexeme::Phrase(quoted),
                None if chars::is_punctuation(c) => self.stray(c),
                None => self.word(),
            },
        })
    }

    /// A text in straight quotes.
    fn phrase(&mut self) -> Quoted<'a> {
        let start = self.at;
        let inner = &self.text[start + 1..];
        // Without an escape, the text is a part of the rule.
        if let Some(length) = inner.find(['"', '\\'])
            && inner[length..].starts_with('"')
        {
            return self.closed_phrase(start, start + 1 + length, Cow::Borrowed(&inner[..length]));
        }
        let mut text = String::new();
        let mut chars = inner.char_indices().map(|(at, c)| (start + 1 + at, c)).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return self.closed_phrase(start, at, Cow::Owned(text)),
                '\\' if chars.next_if(|(_, next)| *next == '"').is_some() => text.push('"'),
                c => text.push(c),
            }
        }
        self.open_phrase(start)
    }

    /// A phrase whose closing quote is at a place.
    fn closed_phrase(&mut self, start: usize, close: usize, text: Cow<'a, str>) -> Quoted<'a> {
        self.at = close + 1;
        let proximity = self.proximity();
        Quoted { text, span: start..close + 1, proximity, is_sound: true }
    }

    /// A quote that is not closed: the text ends at a typographic quote, or at the end of the rule.
    fn open_phrase(&mut self, start: usize) -> Quoted<'a> {
        let inner = &self.text[start + 1..];
        if let Some((length, quote)) = inner.char_indices().find(|(_, c)| chars::is_double_quote(*c)) {
            let at = start + 1 + length;
            self.at = at + quote.len_utf8();
            let message = format!("{quote} is a typographic quote and closes no phrase");
            let draft = Draft::new(Code::QuoteCharacter, at..self.at, message, "use straight double quotes");
            self.found.push(draft.replace(at..self.at, "\""));
            return Quoted { text: inner[..length].into(), span: start..self.at, proximity: None, is_sound: false };
        }
        self.at = self.text.len();
        let message = "this quote is not closed";
        let mut draft =
            Draft::new(Code::UnbalancedQuote, start..start + 1, message, "add \" after the last word of the phrase");
        let phrase = inner.trim_end();
        if !phrase.is_empty() && !phrase.contains(|c| chars::is_space(c) || matches!(c, '(' | ')' | '\\')) {
            let end = start + 1 + phrase.len();
            draft = draft.replace(end..end, "\"");
        }
        self.found.push(draft);
        Quoted { text: phrase.into(), span: start..self.at, proximity: None, is_sound: false }
    }

    /// `~` directly after a phrase, with what follows.
    fn proximity(&mut self) -> Option<Span> {
        if self.peek() != Some('~') {
            return None;
        }
        let start = self.at;
        self.at += 1;
        Some(start..self.skip(|c| !is_delimiter(c)).end)
    }

    /// A text in quote characters that the language does not have.
    fn foreign_quotes(&mut self, open: char) -> Option<Quoted<'a>> {
        let closing = chars::closing_quotes(open)?;
        let start = self.at;
        let inner = start + open.len_utf8();
        let close = self.closing_quote(open, inner, closing);
        let Some((at, quote)) = close else {
            self.at = inner;
            let message = format!("{open} quotes nothing here");
            let advice = "use straight double quotes, or leave it out";
            self.found.push(Draft::new(Code::QuoteCharacter, start..inner, message, advice));
            let is_word = self.peek().is_some_and(|c| !is_delimiter(c) && !chars::is_punctuation(c));
            if !is_word {
                return Some(Quoted { text: "".into(), span: start..inner, proximity: None, is_sound: false });
            }
            let span = self.skip(|c| !is_delimiter(c));
            let text = self.text[span.clone()].into();
            return Some(Quoted { text, span: start..span.end, proximity: None, is_sound: false });
        };
        self.at = at + quote.len_utf8();
        let text = &self.text[inner..at];
        let message = format!("{open} does not quote: it is punctuation");
        let draft = Draft::new(Code::QuoteCharacter, start..self.at, message, "use straight double quotes");
        self.found.push(draft.quote(start..self.at, text));
        Some(Quoted { text: text.into(), span: start..self.at, proximity: None, is_sound: false })
    }

    fn closing_quote(&mut self, open: char, from: usize, closing: &[char]) -> Option<(usize, char)> {
        if self.unpaired.iter().any(|(quote, until)| *quote == open && from < *until) {
            return None;
        }
        for (at, c) in self.text[from..].char_indices() {
            let at = from + at;
            let is_border = || self.text[at + c.len_utf8()..].chars().next().is_none_or(is_delimiter);
            if closing.contains(&c) && at > from && (c == '"' || is_border()) {
                return Some((at, c));
            }
            if c == '"' {
                self.unpaired.push((open, at));
                return None;
            }
        }
        self.unpaired.push((open, self.text.len()));
        None
    }

    fn minus(&mut self) -> Lexeme<'a> {
        let span = self.skip(|c| c == '-');
        let next = self.peek();
        if next.is_none_or(|c| chars::is_space(c) || chars::is_control(c) || c == ')') {
            return Lexeme::BareMinus;
        }
        if span.len() > 1 {
            let message = "a term is negated once";
            let draft = Draft::new(Code::DoubleNegation, span.clone(), message, "write one minus sign");
            self.found.push(draft.replace(span, "-"));
        }
        Lexeme::Minus
    }

    /// `@name`, `#tag`, `$symbol`, or the sign alone.
    fn sigil(&mut self, sigil: char) -> Lexeme<'a> {
        let next = self.text[self.at + 1..].chars().next();
        let is_start = next.is_some_and(|c| match sigil {
            '@' => !is_delimiter(c),
            '#' => chars::is_token(c) || c == '_',
            _ => c.is_alphabetic(),
        });
        if !is_start {
            return self.stray(sigil);
        }
        self.skip(|c| !is_delimiter(c));
        match sigil {
            '@' => Lexeme::Mention,
            '#' => Lexeme::Hashtag,
            _ => Lexeme::Cashtag,
        }
    }

    /// Punctuation that begins no term, with what is attached to it.
    fn stray(&mut self, c: char) -> Lexeme<'a> {
        let start = self.at;
        let whole = self.skip(|c| !is_delimiter(c));
        let run = &self.text[whole.clone()];
        let sign = start..start + c.len_utf8();
        let is_alone = run.chars().all(chars::is_punctuation);
        let span = if is_alone { whole.clone() } else { sign.clone() };
        let draft = |message: String, advice: &str| Draft::new(Code::StrayPunctuation, span.clone(), message, advice);
        self.found.push(match run {
            "|" | "||" => draft(format!("{run} is no operator"), "write OR").replace(whole, "OR"),
            "&" | "&&" => {
                let rest = &self.text[whole.end..];
                let end = whole.end + (rest.len() - rest.trim_start_matches(chars::is_space).len());
                draft(format!("{run} is no operator"), "leave it out: a space already means AND")
                    .replace(whole.start..end, "")
            }
            _ if chars::is_dash(c) && !is_alone => {
                draft(format!("{c} is a dash and negates nothing"), "write a plain minus sign: -").replace(sign, "-")
            }
            _ if is_alone => draft(format!("{run} is no term"), "leave it out, or put it into quotes with its words"),
            _ => {
                let rest = run.trim_matches(chars::is_punctuation);
                let advice = format!("write {rest}, or {} if the punctuation matters", quote_text(run));
                draft(format!("a word does not begin with {c}"), &advice)
            }
        });
        match run {
            "|" | "||" => Lexeme::Or,
            _ => Lexeme::Stray,
        }
    }

    /// A word, a word of the language, or an operator.
    fn word(&mut self) -> Lexeme<'a> {
        let start = self.at;
        self.skip_plain();
        while let Some(c) = self.peek() {
            let is_end = is_delimiter(c) || c == ':' || emoji::sequence_len(&self.text[self.at..]).is_some();
            if is_end {
                break;
            }
            self.at += c.len_utf8();
            self.skip_plain();
        }
        let name = start..self.at;
        if self.peek() == Some(':') {
            return Lexeme::Operator(self.operator(name));
        }
        let word = &self.text[name];
        match word {
            "OR" => Lexeme::Or,
            word if word.eq_ignore_ascii_case("or") => Lexeme::LowerOr,
            word if word.eq_ignore_ascii_case("and") => Lexeme::And,
            _ => Lexeme::Word,
        }
    }

    /// Consumes ASCII letters, digits and `_` that cannot be the start of an emoji, as another character follows them.
    fn skip_plain(&mut self) {
        let bytes = &self.text.as_bytes()[self.at..];
        let length = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let is_ascii_next = bytes.get(length).is_none_or(u8::is_ascii);
        self.at += if is_ascii_next { length } else { length.saturating_sub(1) };
    }

    fn operator(&mut self, name: Span) -> RawOperator<'a> {
        let colon = self.at;
        self.at += 1;
        let written = self.text[name.clone()].to_ascii_lowercase();
        let is_geo = matches!(
            find(&written).or_else(|| unknown::alias(&written)),
            Some(Operator::BoundingBox | Operator::PointRadius)
        );
        let value = match self.peek() {
            None | Some(')') => RawValue::Missing(None),
            Some(c) if chars::is_space(c) || chars::is_control(c) => RawValue::Missing(self.value_after_space()),
            Some('(') => RawValue::Group,
            Some('"') => RawValue::Quoted(self.phrase()),
            Some('[') if is_geo => self.list(),
            Some(c) if chars::closing_quotes(c).is_some() => match self.foreign_quotes(c) {
                Some(quoted) => RawValue::Quoted(quoted),
                None => RawValue::Missing(None),
            },
            Some(_) => RawValue::Bare(self.skip(|c| !is_delimiter(c))),
        };
        RawOperator { name, colon, value }
    }

    /// Consumes the word after the white space after a colon, if it can be the value.
    fn value_after_space(&mut self) -> Option<Span> {
        let rest = &self.text[self.at..];
        let space = rest.len() - rest.trim_start_matches(chars::is_space).len();
        let word = &rest[space..];
        let word = &word[..word.find(is_delimiter).unwrap_or(word.len())];
        let is_value = word.starts_with(|c: char| c.is_alphanumeric())
            && !word.contains(':')
            && !["or", "and"].contains(&word.to_ascii_lowercase().as_str());
        if !is_value {
            return None;
        }
        let start = self.at + space;
        self.at = start + word.len();
        Some(start..self.at)
    }

    /// Numbers in brackets.
    fn list(&mut self) -> RawValue<'a> {
        let start = self.at;
        let rest = &self.text[start..];
        let end = rest.find([']', ':', '"', '(', ')']).unwrap_or(rest.len());
        if rest[end..].starts_with(']') {
            self.at = start + end + 1;
            return RawValue::List(start..self.at, true);
        }
        self.at = start + 1;
        loop {
            let before = self.at;
            self.skip(chars::is_space);
            let is_number = self.peek().is_some_and(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | ','));
            if !is_number {
                self.at = before;
                return RawValue::List(start..before, false);
            }
            self.skip(|c| !is_delimiter(c));
        }
    }
}

/// True for characters that end a word.
fn is_delimiter(c: char) -> bool {
    matches!(c, '(' | ')' | '"') || chars::is_space(c) || chars::is_control(c)
}
