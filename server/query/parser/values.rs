//! Reads the values of operators.

use super::piece::Quoted;
use crate::query::finding::{Code, Draft, Span, quote_text};
use crate::query::operator::{Argument, TextField, lang};
use crate::query::text::{chars, emoji};

/// A value as written.
pub(super) struct Value {
    /// Without quotes and escapes.
    pub(super) text: String,
    /// Place with the quotes.
    pub(super) span: Span,
    is_quoted: bool,
}

impl Value {
    pub(super) fn bare(text: &str, span: Span) -> Self {
        Self { text: text[span.clone()].to_owned(), span, is_quoted: false }
    }

    pub(super) fn quoted(quoted: &Quoted<'_>) -> Self {
        Self { text: quoted.text.as_ref().to_owned(), span: quoted.span.clone(), is_quoted: true }
    }

    /// Place of a character of the text, or of the whole value if that is in quotes.
    fn place(&self, at: usize) -> Span {
        match self.text[at..].chars().next() {
            Some(c) if !self.is_quoted => self.span.start + at..self.span.start + at + c.len_utf8(),
            _ => self.span.clone(),
        }
    }
}

/// Length of today's user names.
const NAME_CHARS_MAX: usize = 15;
/// Length of the longest names of old accounts.
const OLD_NAME_CHARS_MAX: usize = 20;
/// Digits of the largest 64-bit number.
const ID_DIGITS_MAX: usize = 20;

/// Reads the text of an operator.
pub(super) fn text(field: TextField, value: &Value, found: &mut Vec<Draft>) -> Option<String> {
    match field.argument() {
        Argument::User => user(value, found),
        Argument::PostId => post_id(value, found),
        Argument::Substring => substring(field, value, found),
        Argument::Words => words(value, found),
        Argument::Lang => language(value, found),
        Argument::Country => country(value, found),
    }
}

/// Reads a user name or a user id.
pub(super) fn user(value: &Value, found: &mut Vec<Draft>) -> Option<String> {
    let text = value.text.as_str();
    let is_id = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let wrong = text.char_indices().find(|(_, c)| !c.is_ascii_alphanumeric() && *c != '_');
    if let Some((at, c)) = wrong {
        let message = format!("{c} is not part of a user name");
        let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        found.push(match text.strip_prefix('@').filter(|name| !name.is_empty()).filter(is_name) {
            Some(name) => Draft::new(Code::BadUsername, value.place(at), message, "write the name without @")
                .replace(value.span.clone(), name),
            None => {
                let advice = "a user name has 1 to 15 letters, digits or _; an id has digits only";
                Draft::new(Code::BadUsername, value.place(at), message, advice)
            }
        });
        return None;
    }
    let length = text.len();
    let max = if is_id { ID_DIGITS_MAX } else { OLD_NAME_CHARS_MAX };
    if length > max {
        let kind = if is_id { "a user id" } else { "a user name" };
        let message = format!("{length} characters are too many for {kind}");
        found.push(Draft::new(Code::BadUsername, value.place(max), message, format!("it has at most {max}")));
        return None;
    }
    if !is_id && length > NAME_CHARS_MAX {
        let message = format!("{text} has {length} characters; names of today have at most {NAME_CHARS_MAX}");
        found.push(Draft::new(Code::LongUsername, value.span.clone(), message, "check the name"));
    }
    Some(text.to_owned())
}

fn post_id(value: &Value, found: &mut Vec<Draft>) -> Option<String> {
    let text = value.text.as_str();
    let wrong = text.char_indices().find(|(_, c)| !c.is_ascii_digit()).map(|(at, _)| at);
    let wrong = wrong.or((text.len() > ID_DIGITS_MAX).then_some(ID_DIGITS_MAX));
    if let Some(at) = wrong {
        let message = format!("{text} is no post id");
        let advice = format!("a post id has 1 to {ID_DIGITS_MAX} digits and nothing else");
        found.push(Draft::new(Code::BadId, value.place(at), message, advice));
        return None;
    }
    Some(text.to_owned())
}

/// Shortest text of `contains:` that is not warned about.
const SUBSTRING_CHARS_MIN: usize = 3;

fn substring(field: TextField, value: &Value, found: &mut Vec<Draft>) -> Option<String> {
    let text = value.text.as_str();
    if !value.is_quoted {
        needs_quotes(value, first_punctuation(text), found)?;
    }
    let is_short =
        text.chars().count() < SUBSTRING_CHARS_MIN && !text.contains(|c| chars::is_spaceless(c) || emoji::is_base(c));
    if is_short && field == TextField::Contains {
        let message = format!("{text} occurs inside many other words");
        let advice =
            format!("write {} to find the word only", if value.is_quoted { quote_text(text) } else { text.to_owned() });
        found.push(Draft::new(Code::ShortContains, value.span.clone(), message, advice));
    }
    Some(text.to_owned())
}

/// Reports a value that needs quotes because of the character at a place.
fn needs_quotes(value: &Value, at: Option<usize>, found: &mut Vec<Draft>) -> Option<()> {
    let Some(at) = at else { return Some(()) };
    let place = value.place(at);
    let sign = &value.text[at..].chars().next().map(String::from).unwrap_or_default();
    let text = quote_text(&value.text);
    let message = format!("a value with {sign} needs quotes");
    let draft = Draft::new(Code::SigilNeedsQuotes, place, message, format!("write {text}"));
    found.push(draft.quote(value.span.clone(), &value.text));
    None
}

/// Returns the place of punctuation other than a leading minus sign and the point in a number.
fn first_punctuation(text: &str) -> Option<usize> {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let is_allowed = |at: usize, c: char| match c {
        '-' => at == 0 && text.len() > 1,
        '.' => digit(text[..at].chars().next_back()) && digit(text[at + 1..].chars().next()),
        _ => false,
    };
    text.char_indices().find(|(at, c)| chars::is_punctuation(*c) && !is_allowed(*at, *c)).map(|(at, _)| at)
}

fn words(value: &Value, found: &mut Vec<Draft>) -> Option<String> {
    let text = value.text.as_str();
    let is_token = |c: char| chars::is_token(c) || emoji::is_base(c);
    if !text.contains(is_token) {
        let message = format!("{} has no word and matches nothing", quote_text(text));
        found.push(Draft::new(Code::BadValue, value.span.clone(), message, "write a word or several"));
        return None;
    }
    if value.is_quoted {
        return Some(text.to_owned());
    }
    let first = first_punctuation(text);
    needs_quotes(value, first.filter(|at| *at == 0), found)?;
    if let Some(at) = first {
        let sign = text[at..].chars().next().unwrap_or_default();
        let message = format!("{text} has punctuation ({sign}) and is read as several words");
        let draft =
            Draft::new(Code::KeywordPunctuation, value.span.clone(), message, format!("write {}", quote_text(text)));
        found.push(draft.quote(value.span.clone(), text));
    }
    Some(text.to_owned())
}

fn language(value: &Value, found: &mut Vec<Draft>) -> Option<String> {
    let code = value.text.to_lowercase();
    if !lang::is_known(&code) {
        let message = format!("{} is no language of X, which would ignore lang: and match more posts", value.text);
        found.push(match lang::instead_of(&code) {
            Some(right) => {
                Draft::new(Code::LangUnknown, value.span.clone(), message, format!("did you mean lang:{right}?"))
                    .replace(value.span.clone(), right)
            }
            None => {
                let advice = "write a code of two letters such as en, es, ja; docs/rule-language.md lists all";
                Draft::new(Code::LangUnknown, value.span.clone(), message, advice)
            }
        });
        return None;
    }
    if code == "und" {
        let message = "X documents no lang:und and may ignore it";
        found.push(Draft::new(
            Code::LangUnd,
            value.span.clone(),
            message,
            "write -has:lang for posts without a language",
        ));
    }
    Some(value.text.clone())
}

fn country(value: &Value, found: &mut Vec<Draft>) -> Option<String> {
    let text = value.text.as_str();
    if text.len() != 2 || !text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        let message = format!("{text} is no country code");
        let advice = "write the two letters of ISO 3166, such as US";
        found.push(Draft::new(Code::BadValue, value.span.clone(), message, advice));
        return None;
    }
    Some(text.to_owned())
}

/// Reads `n` or `n..m`.
pub(super) fn count(value: &Value, found: &mut Vec<Draft>) -> Option<(u64, Option<u64>)> {
    let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let range = match value.text.split_once("..") {
        Some((least, most)) => number(least).zip(number(most)).map(|(least, most): (u64, u64)| (least, Some(most))),
        None => number(&value.text).map(|least| (least, None)),
    };
    let range = range.filter(|(least, most)| most.is_none_or(|most| *least <= most));
    if range.is_none() {
        let message = format!("{} is no number and no range", value.text);
        let advice = "write the least number, or the least and the largest: 100..1000";
        found.push(Draft::new(Code::BadValue, value.span.clone(), message, advice));
    }
    range
}

/// Reads a percentage.
pub(super) fn sample(value: &Value, found: &mut Vec<Draft>) -> Option<u8> {
    let is_number = value.text.bytes().all(|byte| byte.is_ascii_digit());
    let percent = value.text.parse().ok().filter(|percent| is_number && (1..=100).contains(percent));
    if percent.is_none() {
        let message = format!("{} is no percentage", value.text);
        found.push(Draft::new(Code::BadValue, value.span.clone(), message, "write a whole number from 1 to 100"));
    }
    percent
}
