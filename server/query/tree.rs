//! Syntax tree of a rule.

use super::finding::Span;
use super::operator::{CountField, Feature, PostKind, TextField};

/// A part of a rule with its place. Two nodes are equal if they have the same content, wherever they are.
#[derive(Clone, Debug)]
pub struct Node {
    /// Place in bytes.
    pub span: Span,
    /// Content.
    pub kind: NodeKind,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// Content of a node. `Or` and `And` have at least two children.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// One of the children matches.
    Or(Vec<Node>),
    /// All children match.
    And(Vec<Node>),
    /// The child does not match.
    Not(Box<Node>),
    /// A condition on a post.
    Term(RuleTerm),
    /// A term with an error. Only in trees of rules with errors.
    Invalid,
}

/// A condition on a post. Texts are as written, without quotes and escapes.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleTerm {
    /// A word. With punctuation in it, it is read as a phrase.
    Keyword(String),
    /// An emoji outside quotes.
    Emoji(String),
    /// A text in quotes.
    Phrase(String),
    /// Words of a text in quotes, each at most this number of tokens after the last.
    Proximity(String, u8),
    /// `@name` or `@id`.
    Mention(String),
    /// `#tag`.
    Hashtag(String),
    /// `$symbol`.
    Cashtag(String),
    /// An operator with a text, a name, an id or a code.
    Field(TextField, String),
    /// `has:`.
    Has(Feature),
    /// `is:`.
    Is(PostKind),
    /// `bounding_box:`.
    BoundingBox(BoundingBox),
    /// `point_radius:`.
    PointRadius(PointRadius),
    /// A number of the author, from a minimum to a maximum.
    Count(CountField, u64, Option<u64>),
    /// `sample:`, in percent.
    Sample(u8),
}

/// A box in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundingBox {
    /// Western border.
    pub west: f64,
    /// Southern border.
    pub south: f64,
    /// Eastern border.
    pub east: f64,
    /// Northern border.
    pub north: f64,
}

/// A circle on the earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointRadius {
    /// Degrees of the centre, east positive.
    pub longitude: f64,
    /// Degrees of the centre, north positive.
    pub latitude: f64,
    /// Radius in its unit.
    pub radius: f64,
    /// Unit of the radius.
    pub unit: Unit,
}

impl PointRadius {
    /// Returns the radius in kilometres.
    pub fn kilometres(&self) -> f64 {
        match self.unit {
            Unit::Kilometres => self.radius,
            Unit::Miles => self.radius * MILE_KM,
        }
    }
}

/// Unit of a radius.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `km`.
    Kilometres,
    /// `mi`.
    Miles,
}

impl Unit {
    /// Returns the unit as written in a rule.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kilometres => "km",
            Self::Miles => "mi",
        }
    }
}

/// Kilometres of an international mile.
pub const MILE_KM: f64 = 1.609_344;

/// True if a keyword has punctuation in it and is therefore read as a phrase.
pub fn is_read_as_phrase(keyword: &str) -> bool {
    keyword.contains(super::text::chars::is_punctuation)
}
