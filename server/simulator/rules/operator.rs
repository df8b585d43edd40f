use super::area::Area;
use super::characters::{emoji_length, is_word, normal_form};
use super::languages;
use super::syntax_error::{Fault, SyntaxError};
use super::text_tokens::tokens;

/// Characters of a user name; today's have 15, old accounts have more.
const USERNAME_CHARS_MAX: usize = 20;

/// Words that do not make a rule by themselves (PowerTrack's list of 2016).
const STOP_WORDS: [&str; 28] = [
    "a", "an", "and", "at", "but", "by", "com", "from", "http", "https", "if", "in", "is", "it", "its", "me", "my",
    "not", "or", "rt", "the", "this", "to", "too", "via", "we", "www", "you",
];

/// Operators of PowerTrack that Powerstream does not list.
const UNAVAILABLE: [&str; 15] = [
    "url",
    "url_title",
    "url_description",
    "place_country",
    "bio_location",
    "followers_count",
    "friends_count",
    "statuses_count",
    "listed_count",
    "source",
    "sample",
    "profile_country",
    "profile_region",
    "profile_locality",
    "profile_bounding_box",
];

/// A condition on a post. Texts are in normal form.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RuleOperator {
    /// These tokens, one after the other.
    Words(Vec<String>),
    Phrase(Phrase),
    Mention(String),
    From(String),
    To(String),
    RetweetsOf(String),
    RetweetsOfStatus(String),
    InReplyToStatus(String),
    Contains(String),
    UrlContains(String),
    Lang(String),
    Has(Feature),
    Is(PostKind),
    /// The id of a place, or words of its name.
    Place(String, Vec<String>),
    Bio(Vec<String>),
    BioName(Vec<String>),
    Within(Area),
}

/// Text that must occur as it is, between characters that are not of a word.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Phrase {
    pub(super) text: String,
    /// `#` or `$` of a quoted hashtag or symbol: an occurrence behind it does not count.
    pub(super) sigil: Option<char>,
}

/// What a post has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    Mentions,
    Geo,
    Links,
    Media,
    Lang,
    Symbols,
    Images,
    Videos,
}

/// What a post is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostKind {
    Retweet,
    Reply,
}

/// The value of an operator as written, with the position of each character.
#[derive(Clone, Debug)]
pub(super) struct OperatorValue {
    pub(super) chars: Vec<(char, usize)>,
    pub(super) position: usize,
    pub(super) is_quoted: bool,
}

impl RuleOperator {
    /// True for a word that is too frequent to make a rule.
    pub(super) fn is_stop_word(&self) -> bool {
        matches!(self, Self::Words(words) if words.len() == 1 && STOP_WORDS.contains(&&*words[0]))
    }
}

/// A keyword: its tokens in a row; with punctuation inside, a phrase.
pub(super) fn from_keyword(word: &str) -> RuleOperator {
    let text = normal_form(word);
    let tokens = tokens(&text);
    if tokens.iter().map(String::len).sum::<usize>() == text.len() {
        return RuleOperator::Words(tokens);
    }
    RuleOperator::Phrase(Phrase { text, sigil: None })
}

pub(super) fn from_phrase(text: &str) -> RuleOperator {
    let text = normal_form(text);
    let sigil = text.chars().next().filter(|c| matches!(c, '#' | '$'));
    match sigil {
        Some(sigil) if text.len() > 1 => {
            RuleOperator::Phrase(Phrase { text: text[1..].to_owned(), sigil: Some(sigil) })
        }
        _ => RuleOperator::Phrase(Phrase { text, sigil: None }),
    }
}

pub(super) fn mention(name: &[(char, usize)]) -> Result<RuleOperator, SyntaxError> {
    let value = OperatorValue { chars: name.to_vec(), position: 0, is_quoted: false };
    value.account().map(RuleOperator::Mention)
}

/// The operator of this name with this value; the name begins at `position`.
pub(super) fn from_name(
    word: &str,
    position: usize,
    colon: usize,
    value: OperatorValue,
) -> Result<RuleOperator, SyntaxError> {
    let name = word.to_ascii_lowercase();
    let at_name = |fault| Err(SyntaxError::new(fault, position, word));
    if UNAVAILABLE.contains(&&*name) {
        return at_name(Fault::OperatorUnavailable);
    }
    if !NAMES.contains(&&*name) {
        return at_name(Fault::UnknownOperator);
    }
    let text = value.text();
    if text.trim().is_empty() {
        return Err(SyntaxError::new(Fault::MissingValue, colon, ":"));
    }
    Ok(match &*name {
        "from" => RuleOperator::From(value.account()?),
        "to" => RuleOperator::To(value.account()?),
        "retweets_of" => RuleOperator::RetweetsOf(value.account()?),
        "retweets_of_status_id" => RuleOperator::RetweetsOfStatus(value.id()?),
        "in_reply_to_status_id" => RuleOperator::InReplyToStatus(value.id()?),
        "contains" => RuleOperator::Contains(value.plain(true)?),
        "url_contains" => RuleOperator::UrlContains(value.plain(false)?),
        "lang" => match languages::known(&text) {
            Some(code) => RuleOperator::Lang(code),
            None => return Err(value.wrong(Fault::LangUnknown)),
        },
        "place" => RuleOperator::Place(text.to_lowercase(), value.tokens()?),
        "bio" => RuleOperator::Bio(value.tokens()?),
        "bio_name" => RuleOperator::BioName(value.tokens()?),
        "has" | "is" => return feature_or_kind(&name, &text, position),
        "bounding_box" => RuleOperator::Within(Area::bounding_box(&text).ok_or_else(|| value.wrong(Fault::BadGeo))?),
        _ => RuleOperator::Within(Area::point_radius(&text).ok_or_else(|| value.wrong(Fault::BadGeo))?),
    })
}

/// Names of Powerstream's operators that have a value.
const NAMES: [&str; 15] = [
    "from",
    "to",
    "retweets_of",
    "retweets_of_status_id",
    "in_reply_to_status_id",
    "contains",
    "url_contains",
    "lang",
    "place",
    "bio",
    "bio_name",
    "has",
    "is",
    "bounding_box",
    "point_radius",
];

fn feature_or_kind(name: &str, text: &str, position: usize) -> Result<RuleOperator, SyntaxError> {
    let operator = format!("{name}:{}", text.to_lowercase());
    Ok(match operator.as_str() {
        "has:mentions" => RuleOperator::Has(Feature::Mentions),
        "has:geo" => RuleOperator::Has(Feature::Geo),
        "has:links" => RuleOperator::Has(Feature::Links),
        "has:media" => RuleOperator::Has(Feature::Media),
        "has:lang" => RuleOperator::Has(Feature::Lang),
        "has:symbols" => RuleOperator::Has(Feature::Symbols),
        "has:images" => RuleOperator::Has(Feature::Images),
        "has:videos" => RuleOperator::Has(Feature::Videos),
        "is:retweet" => RuleOperator::Is(PostKind::Retweet),
        "is:reply" => RuleOperator::Is(PostKind::Reply),
        "has:hashtags" | "is:quote" | "is:verified" => {
            return Err(SyntaxError::new(Fault::OperatorUnavailable, position, operator));
        }
        _ => return Err(SyntaxError::new(Fault::BadValue, position, operator)),
    })
}

impl OperatorValue {
    fn text(&self) -> String {
        self.chars.iter().map(|(c, _)| *c).collect()
    }

    fn wrong(&self, fault: Fault) -> SyntaxError {
        SyntaxError::new(fault, self.position, self.text())
    }

    fn wrong_at(&self, fault: Fault, at: usize) -> SyntaxError {
        let rest: String = self.chars[at..].iter().map(|(c, _)| *c).collect();
        SyntaxError::new(fault, self.chars.get(at).map_or(self.position, |(_, position)| *position), rest)
    }

    /// A user name or a numeric id.
    fn account(&self) -> Result<String, SyntaxError> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let wrong = self.chars.iter().position(|(c, _)| !is_name(*c));
        let wrong = wrong.or((self.chars.len() > USERNAME_CHARS_MAX).then_some(USERNAME_CHARS_MAX));
        match wrong {
            Some(at) => Err(self.wrong_at(Fault::BadUsername, at)),
            None => Ok(self.text().to_ascii_lowercase()),
        }
    }

    fn id(&self) -> Result<String, SyntaxError> {
        match self.chars.iter().position(|(c, _)| !c.is_ascii_digit()) {
            Some(at) => Err(self.wrong_at(Fault::BadId, at)),
            None => Ok(self.text()),
        }
    }

    fn tokens(&self) -> Result<Vec<String>, SyntaxError> {
        let tokens = tokens(&normal_form(&self.text()));
        if tokens.is_empty() { Err(self.wrong(Fault::BadValue)) } else { Ok(tokens) }
    }

    /// Text that needs quotes for punctuation; a number may have its sign and its point.
    fn plain(&self, numbers: bool) -> Result<String, SyntaxError> {
        let text: Vec<char> = self.chars.iter().map(|(c, _)| *c).collect();
        let is_digit = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(char::is_ascii_digit);
        let mut at = 0;
        while !self.is_quoted && at < text.len() {
            let emoji = if is_word(text[at]) { 1 } else { emoji_length(&text[at..]) };
            let of_number = match text[at] {
                '-' => at == 0 && text.len() > 1,
                '.' => is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)),
                _ => false,
            };
            if emoji == 0 && !(numbers && of_number) {
                return Err(self.wrong_at(Fault::SigilNeedsQuotes, at));
            }
            at += emoji.max(1);
        }
        Ok(normal_form(&self.text()))
    }
}
