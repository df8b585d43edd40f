use super::characters::{emoji_length, is_word};
use super::operator::{OperatorValue, RuleOperator, from_keyword, from_name, from_phrase, mention};
use super::syntax_error::{Fault, SyntaxError};

/// Characters that editors put in the place of `"`, and the apostrophe.
const OTHER_QUOTES: &str = "'‘’‚‛“”„‟«»‹›`´";

/// A piece of a rule and the position where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) position: usize,
    pub(super) lexeme: RuleLexeme,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum RuleLexeme {
    Open,
    Close,
    Or,
    Minus,
    Term(RuleOperator),
}

/// Splits a rule into tokens. Positions are from 1, in UTF-16 code units, as in X's messages.
#[derive(Debug)]
pub(super) struct RuleLexer {
    /// Each character and its position.
    chars: Vec<(char, usize)>,
    at: usize,
    /// The position behind the last character.
    end: usize,
}

impl RuleLexer {
    pub(super) fn new(rule: &str) -> Self {
        let mut end = 1;
        let mut chars = Vec::with_capacity(rule.len());
        for c in rule.chars() {
            chars.push((c, end));
            end += c.len_utf16();
        }
        Self { chars, at: 0, end }
    }

    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// The first control character that is no white space.
    pub(super) fn control_character(&self) -> Option<usize> {
        self.chars.iter().find(|(c, _)| c.is_control() && !c.is_whitespace()).map(|(_, position)| *position)
    }

    /// The next token, or `None` at the end.
    pub(super) fn next_token(&mut self) -> Result<Option<Token>, SyntaxError> {
        self.skip_while(char::is_whitespace);
        let Some(&(c, position)) = self.chars.get(self.at) else { return Ok(None) };
        let lexeme = match c {
            '(' => self.single(RuleLexeme::Open),
            ')' => self.single(RuleLexeme::Close),
            '-' => self.minus(position)?,
            '"' => self.phrase(position)?,
            '@' => self.mention(position)?,
            c if is_word(c) || self.emoji() > 0 => self.word(position)?,
            c => return Err(self.misplaced(c, position)),
        };
        Ok(Some(Token { position, lexeme }))
    }

    fn single(&mut self, lexeme: RuleLexeme) -> RuleLexeme {
        self.at += 1;
        lexeme
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).map(|(c, _)| *c)
    }

    fn position(&self) -> usize {
        self.chars.get(self.at).map_or(self.end, |(_, position)| *position)
    }

    fn emoji(&self) -> usize {
        // The longest sequences have a dozen characters or two.
        let rest: Vec<char> = self.chars[self.at..].iter().take(64).map(|(c, _)| *c).collect();
        emoji_length(&rest)
    }

    fn skip_while(&mut self, is: impl Fn(char) -> bool) -> &[(char, usize)] {
        let start = self.at;
        while self.peek().is_some_and(&is) {
            self.at += 1;
        }
        &self.chars[start..self.at]
    }

    fn minus(&mut self, position: usize) -> Result<RuleLexeme, SyntaxError> {
        self.at += 1;
        match self.peek() {
            Some('-') => Err(SyntaxError::new(Fault::DoubleNegation, position, "-")),
            Some(c) if !c.is_whitespace() && c != ')' => Ok(RuleLexeme::Minus),
            _ => Err(SyntaxError::new(Fault::BareMinus, position, "-")),
        }
    }

    /// The characters between quotes. `\"` is a quote within; in front of any other character `\` is itself.
    fn quoted(&mut self) -> Result<Vec<(char, usize)>, SyntaxError> {
        let start = self.position();
        self.at += 1;
        let mut text = Vec::new();
        while let Some(&(c, position)) = self.chars.get(self.at) {
            self.at += 1;
            match (c, self.peek()) {
                ('"', _) => return Ok(text),
                ('\\', Some(escaped)) => {
                    if escaped != '"' {
                        text.push((c, position));
                    }
                    text.push((escaped, self.position()));
                    self.at += 1;
                }
                _ => text.push((c, position)),
            }
        }
        Err(SyntaxError::new(Fault::UnbalancedQuote, start, "\""))
    }

    fn phrase(&mut self, position: usize) -> Result<RuleLexeme, SyntaxError> {
        let text: String = self.quoted()?.into_iter().map(|(c, _)| c).collect();
        if text.trim().is_empty() {
            return Err(SyntaxError::new(Fault::EmptyPhrase, position, "\"\""));
        }
        let distance = self.chars.get(self.at + 1).is_some_and(|(c, _)| c.is_ascii_digit());
        if self.peek() == Some('~') && distance {
            return Err(SyntaxError::new(Fault::OperatorUnavailable, position, "~"));
        }
        Ok(RuleLexeme::Term(from_phrase(&text)))
    }

    fn mention(&mut self, position: usize) -> Result<RuleLexeme, SyntaxError> {
        self.at += 1;
        let name = self.skip_while(is_bare);
        if name.is_empty() {
            return Err(SyntaxError::new(Fault::StrayPunctuation, position, "@"));
        }
        mention(name).map(RuleLexeme::Term)
    }

    /// A keyword, `OR`, or an operator with its value.
    fn word(&mut self, position: usize) -> Result<RuleLexeme, SyntaxError> {
        let word: String = self.skip_while(|c| is_bare(c) && c != ':').iter().map(|(c, _)| *c).collect();
        if self.peek() == Some(':') {
            let colon = self.position();
            self.at += 1;
            let value = self.value()?;
            return from_name(&word, position, colon, value).map(RuleLexeme::Term);
        }
        match word.to_ascii_lowercase().as_str() {
            "or" if word == "OR" => Ok(RuleLexeme::Or),
            "or" => Err(SyntaxError::new(Fault::OrLowercase, position, word)),
            "and" => Err(SyntaxError::new(Fault::AndKeyword, position, word)),
            _ => Ok(RuleLexeme::Term(from_keyword(&word))),
        }
    }

    /// What follows the colon: quoted, in brackets, or up to white space, a parenthesis or a quote.
    fn value(&mut self) -> Result<OperatorValue, SyntaxError> {
        let position = self.position();
        let (chars, is_quoted) = match self.peek() {
            Some('"') => (self.quoted()?, true),
            Some('[') => (self.list().to_vec(), false),
            _ => (self.skip_while(is_bare).to_vec(), false),
        };
        Ok(OperatorValue { chars, position, is_quoted })
    }

    /// Up to the closing bracket; without one, up to the end.
    fn list(&mut self) -> &[(char, usize)] {
        let start = self.at;
        self.skip_while(|c| c != ']');
        self.at = (self.at + 1).min(self.chars.len());
        &self.chars[start..self.at]
    }

    fn misplaced(&self, c: char, position: usize) -> SyntaxError {
        let next = self.chars.get(self.at + 1).map(|(c, _)| *c);
        let fault = match c {
            c if OTHER_QUOTES.contains(c) => Fault::QuoteCharacter,
            '#' | '$' if next.is_some_and(|next| is_word(next) || next == '_') => Fault::OperatorUnavailable,
            _ => Fault::StrayPunctuation,
        };
        SyntaxError::new(fault, position, c)
    }
}

/// True for characters that do not end a word or a value.
fn is_bare(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '(' | ')' | '"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(rule: &str) -> Vec<usize> {
        let mut lexer = RuleLexer::new(rule);
        std::iter::from_fn(|| lexer.next_token().expect("well formed").map(|token| token.position)).collect()
    }

    #[test]
    fn positions_count_utf16_units() {
        assert_eq!(positions("猫 -(from:ada OR \"a \\\" b\")"), [1, 3, 4, 5, 14, 17, 25]);
        assert_eq!(positions("🍕 \"🍕\" x OR🍕"), [1, 4, 9, 11]);
        assert_eq!(positions("a\"b\"(c)"), [1, 2, 5, 6, 7]);
        assert_eq!(positions("  "), [] as [usize; 0]);
    }
}
