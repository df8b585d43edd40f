use std::fmt;

/// Why a rule is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    EmptyRule,
    TooLong,
    UnbalancedQuote,
    UnbalancedParen,
    AndKeyword,
    OrLowercase,
    DanglingOr,
    NegationOnly,
    NegatedOr,
    StopwordsOnly,
    UnknownOperator,
    OperatorUnavailable,
    BadValue,
    LangUnknown,
    MissingValue,
    SigilNeedsQuotes,
    BadUsername,
    BadId,
    BadGeo,
    QuoteCharacter,
    StrayPunctuation,
    BareMinus,
    DoubleNegation,
    EmptyGroup,
    EmptyPhrase,
    ControlCharacter,
}

/// A rule that is refused: the fault, the place (from 1, in UTF-16 code units) and the input there. Its text is X's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) fault: Fault,
    pub(super) position: usize,
    input: String,
}

impl SyntaxError {
    pub(super) fn new(fault: Fault, position: usize, input: impl Into<String>) -> Self {
        Self { fault, position, input: input.into() }
    }
}

const NO_POSITIVE_TERM: &str = "Rules must contain at least one positive, non-stopword clause (at position 1)\n";

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, position, input } = self;
        match fault {
            Fault::EmptyRule => writeln!(f, "Invalid 'query':''. 'query' must be a non-empty string"),
            Fault::TooLong => writeln!(f, "Rule '{input}' may have 2048 characters at most"),
            Fault::UnbalancedQuote => writeln!(f, "unterminated quote (at position {position})"),
            Fault::UnbalancedParen if input == ")" => writeln!(f, "missing EOF at ')' (at position {position})"),
            Fault::UnbalancedParen => writeln!(f, "mismatched input 'EOF' expecting ')' (at position {position})"),
            Fault::AndKeyword => ambiguous(f, "and", "a space", *position),
            Fault::OrLowercase => ambiguous(f, "or", "OR", *position),
            Fault::NegationOnly | Fault::DoubleNegation => {
                write!(f, "Rules must contain a non-negation term (at position 1)\n{NO_POSITIVE_TERM}")
            }
            Fault::NegatedOr | Fault::StopwordsOnly => f.write_str(NO_POSITIVE_TERM),
            Fault::UnknownOperator => writeln!(f, "Reference to invalid operator '{input}' (at position {position})."),
            Fault::OperatorUnavailable => writeln!(
                f,
                "Reference to invalid operator '{input}'. RuleOperator is not available in current product (at position \
                 {position})."
            ),
            Fault::BadValue => writeln!(f, "Reference to invalid operator '{input}' (at position {position})."),
            Fault::QuoteCharacter => {
                writeln!(f, "no viable alternative at character '{input}' (at position {position})")
            }
            Fault::DanglingOr
            | Fault::MissingValue
            | Fault::BadUsername
            | Fault::BadId
            | Fault::BadGeo
            | Fault::LangUnknown => writeln!(f, "Cannot parse rule at '{input}' (position {position})"),
            Fault::SigilNeedsQuotes
            | Fault::StrayPunctuation
            | Fault::BareMinus
            | Fault::EmptyGroup
            | Fault::EmptyPhrase
            | Fault::ControlCharacter => {
                writeln!(f, "no viable alternative at input '{input}' (at position {position})")
            }
        }
    }
}

fn ambiguous(f: &mut fmt::Formatter<'_>, word: &str, operator: &str, position: usize) -> fmt::Result {
    writeln!(
        f,
        "Ambiguous use of {word} as a keyword. Use {operator} to logically join two clauses, or \"{word}\" to find \
         occurrences of {word} in text (at position {position})"
    )
}
