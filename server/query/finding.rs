//! Findings of the checker: severity, code, message, advice and place.

use std::fmt;
use std::ops::Range;

use serde::{Serialize, Serializer};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The rule is invalid, or means something else than it seems to.
    Error,
    /// The rule is valid. It may match other posts than intended.
    Warning,
}

impl Severity {
    /// Returns the word for a severity.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $severity:ident,)*) => {
        /// What a finding is about. `docs/rule-language.md` describes each code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name of a code.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns the severity of a code.
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$variant => Severity::$severity,)*
                }
            }
        }
    };
}

codes! {
    /// The rule has no term.
    EmptyRule = "EMPTY_RULE" Error,
    /// The rule is longer than X allows.
    TooLong = "TOO_LONG" Error,
    /// A quote is not closed.
    UnbalancedQuote = "UNBALANCED_QUOTE" Error,
    /// A bracket has no counterpart.
    UnbalancedParen = "UNBALANCED_PAREN" Error,
    /// `AND` is a word.
    AndKeyword = "AND_KEYWORD" Error,
    /// `or` is no operator.
    OrLowercase = "OR_LOWERCASE" Error,
    /// `OR` without a term on one side.
    DanglingOr = "DANGLING_OR" Error,
    /// All terms are negative.
    NegationOnly = "NEGATION_ONLY" Error,
    /// A side of an `OR` is negative only.
    NegatedOr = "NEGATED_OR" Error,
    /// No positive term other than stop words.
    StopwordsOnly = "STOPWORDS_ONLY" Error,
    /// No such operator.
    UnknownOperator = "UNKNOWN_OPERATOR" Error,
    /// An operator of another product.
    OperatorUnavailable = "OPERATOR_UNAVAILABLE" Error,
    /// No such value of an operator.
    BadValue = "BAD_VALUE" Error,
    /// No such language: X ignores the operator, and the rule gets wider.
    LangUnknown = "LANG_UNKNOWN" Error,
    /// No value after the colon.
    MissingValue = "MISSING_VALUE" Error,
    /// A value with punctuation needs quotes.
    SigilNeedsQuotes = "SIGIL_NEEDS_QUOTES" Error,
    /// No user name and no user id.
    BadUsername = "BAD_USERNAME" Error,
    /// No post id.
    BadId = "BAD_ID" Error,
    /// No place.
    BadGeo = "BAD_GEO" Error,
    /// A quote character other than `"`.
    QuoteCharacter = "QUOTE_CHARACTER" Error,
    /// Punctuation that is neither operator nor part of a word.
    StrayPunctuation = "STRAY_PUNCTUATION" Error,
    /// A minus sign without a term.
    BareMinus = "BARE_MINUS" Error,
    /// More than one minus sign.
    DoubleNegation = "DOUBLE_NEGATION" Error,
    /// `()`.
    EmptyGroup = "EMPTY_GROUP" Error,
    /// `""`.
    EmptyPhrase = "EMPTY_PHRASE" Error,
    /// `sample:` below an `OR`.
    SampleWithOr = "SAMPLE_WITH_OR" Error,
    /// A control character.
    ControlCharacter = "CONTROL_CHARACTER" Error,
    /// A negated group.
    NegatedGroup = "NEGATED_GROUP" Warning,
    /// A rule of only `has:`, `is:` and `lang:`.
    BroadRule = "BROAD_RULE" Warning,
    /// A word with punctuation and without quotes.
    KeywordPunctuation = "KEYWORD_PUNCTUATION" Warning,
    /// A word of a script without spaces.
    CjkKeyword = "CJK_KEYWORD" Warning,
    /// An emoji without quotes.
    Emoji = "EMOJI" Warning,
    /// `lang:und`.
    LangUnd = "LANG_UND" Warning,
    /// An area beyond the documented size.
    GeoLarge = "GEO_LARGE" Warning,
    /// Terms that no post satisfies together.
    Contradiction = "CONTRADICTION" Warning,
    /// A term that changes nothing.
    Redundant = "REDUNDANT" Warning,
    /// A text that is not composed (NFC).
    NotNfc = "NOT_NFC" Warning,
    /// White space before or after the rule.
    OuterSpace = "OUTER_SPACE" Warning,
    /// White space other than the plain space, or an invisible character.
    OddSpace = "ODD_SPACE" Warning,
    /// A user name longer than those of today.
    LongUsername = "LONG_USERNAME" Warning,
    /// A very short text in `contains:`.
    ShortContains = "SHORT_CONTAINS" Warning,
    /// `NOT` is a word.
    NotKeyword = "NOT_KEYWORD" Warning,
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A range of a rule in bytes.
pub type Span = Range<usize>;

/// A replacement of ranges of a rule.
pub type Edit = Vec<(Span, String)>;

/// A finding while a rule is parsed and checked, with places in bytes.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it is about.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
    /// Where.
    pub span: Span,
    /// The one right correction, if there is one.
    pub edit: Option<Edit>,
}

impl Draft {
    /// Creates a finding without a correction.
    pub fn new(code: Code, span: Span, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { code, message: message.into(), advice: advice.into(), span, edit: None }
    }

    /// Adds the one right correction: text for a range.
    #[must_use]
    pub fn replace(mut self, span: Span, text: impl Into<String>) -> Self {
        self.edit.get_or_insert_default().push((span, text.into()));
        self
    }

    /// Adds quotes around a text as the one right correction. There is none for a text that ends with a backslash, which
    /// would escape the closing quote.
    #[must_use]
    pub fn quote(self, span: Span, text: &str) -> Self {
        if text.ends_with('\\') {
            return self;
        }
        self.replace(span, quote_text(text))
    }
}

/// Returns a text in quotes, with escaped quotes.
pub fn quote_text(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}

/// One finding about a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
    /// First UTF-16 code unit, from 1, as in X's messages.
    pub position: usize,
    /// UTF-16 code unit after the last one, from 1. Equal to `position` where something is missing.
    pub end: usize,
    /// First byte, from 0.
    pub byte_start: usize,
    /// Byte after the last one.
    pub byte_end: usize,
    /// The whole corrected rule, if there is one right correction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

/// Returns the number of UTF-16 code units of a text.
pub fn utf16_len(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char::len_utf16).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_codes_are_unique() {
        let names: std::collections::HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn lengths_are_in_utf16_units() {
        for (text, expected) in [("", 0), ("abc", 3), ("é", 1), ("猫", 1), ("🍕", 2), ("🍕é", 3)] {
            assert_eq!(utf16_len(text), expected, "{text}");
        }
    }
}
