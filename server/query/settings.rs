//! Settings that decide how a rule is checked and matched.

use serde::Deserialize;

/// Operators that a rule may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Operators that X lists for Powerstream. A rule needs a positive term.
    #[default]
    Powerstream,
    /// All operators, for filters over posts that rules have already selected. A filter may be negative only.
    Gateway,
}

/// How a phrase matches a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhraseReading {
    /// The characters of the phrase occur, without a word character directly before or after them.
    #[default]
    Literal,
    /// The tokens of the phrase occur in a row; punctuation counts as white space.
    Tokens,
}

/// How a run of Han and kana characters is split into tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CjkTokens {
    /// Each character is a token.
    #[default]
    Single,
    /// The run is one token.
    Run,
}

/// Settings of checker and evaluator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuerySettings {
    /// Operators that a rule may use.
    pub dialect: Dialect,
    /// How phrases match.
    pub phrases: PhraseReading,
    /// Tokens of Han and kana characters.
    pub cjk_tokens: CjkTokens,
    /// Accepts PowerTrack's operators in the dialect `powerstream`, although X does not list them.
    pub unlisted_operators: bool,
}

impl QuerySettings {
    /// Returns the default settings of a dialect.
    pub fn of(dialect: Dialect) -> Self {
        Self { dialect, ..Self::default() }
    }

    /// True if a rule may use an operator or a value, which X lists for Powerstream or not.
    pub fn accepts(&self, is_listed: bool) -> bool {
        is_listed || self.unlisted_operators || self.dialect == Dialect::Gateway
    }
}
