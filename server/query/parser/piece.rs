//! Pieces of a rule.

use std::borrow::Cow;

use crate::query::finding::Span;

/// A piece of a rule with its place in bytes.
#[derive(Clone, Debug)]
pub(super) struct Piece<'a> {
    pub(super) span: Span,
    pub(super) lexeme: Lexeme<'a>,
}

/// Kinds of pieces.
#[derive(Clone, Debug)]
pub(super) enum Lexeme<'a> {
    Open,
    Close,
    Or,
    /// `or` in another case: no operator.
    LowerOr,
    /// `and` in any case: no operator.
    And,
    /// Minus signs directly before a term.
    Minus,
    /// A minus sign without a term.
    BareMinus,
    Word,
    Emoji,
    Mention,
    Hashtag,
    Cashtag,
    /// Punctuation that begins no term. Reported by the lexer.
    Stray,
    Phrase(Quoted<'a>),
    Operator(RawOperator<'a>),
}

/// A text in quotes, and a `~N` after it.
#[derive(Clone, Debug)]
pub(super) struct Quoted<'a> {
    /// The text without quotes and escapes.
    pub(super) text: Cow<'a, str>,
    /// Place with the quotes.
    pub(super) span: Span,
    /// The place of `~` and what follows it.
    pub(super) proximity: Option<Span>,
    /// True if the quotes are those of the language and closed.
    pub(super) is_sound: bool,
}

/// A name with a colon, and what follows it.
#[derive(Clone, Debug)]
pub(super) struct RawOperator<'a> {
    pub(super) name: Span,
    /// Place of the colon.
    pub(super) colon: usize,
    pub(super) value: RawValue<'a>,
}

/// What follows a colon.
#[derive(Clone, Debug)]
pub(super) enum RawValue<'a> {
    /// Nothing, or a word after white space (its place).
    Missing(Option<Span>),
    /// A bracket.
    Group,
    Quoted(Quoted<'a>),
    /// Place with the brackets; false if `]` is missing.
    List(Span, bool),
    Bare(Span),
}
