use std::sync::Arc;

/// One thing about a post that an index can hold: a filter's key must hold for every post that the filter matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IndexKey {
    /// It has this tag.
    Tag(Arc<str>),
    /// It has a tag that begins so; the empty prefix is any tag.
    Prefix(Arc<str>),
    /// This rule matched it.
    Rule(u64),
}

/// Necessary condition of a filter, for indexes: they may give more than matches, never less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFilter {
    /// Nothing can be left out by an index.
    Always,
    /// At least one of these holds for whatever matches.
    AnyOf(Arc<[IndexKey]>),
}
