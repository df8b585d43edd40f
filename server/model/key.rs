use std::sync::Arc;

/// A property of posts that an index can store. Every post that a filter matches has at least one of the filter's keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IndexKey {
    /// Has this tag.
    Tag(Arc<str>),
    /// Has a tag with this prefix; the empty prefix matches any tag.
    Prefix(Arc<str>),
    /// Matched by this rule.
    Rule(u64),
}

/// Necessary condition of a filter, for indexes: an index may return more than matches, never less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFilter {
    /// No index applies.
    Always,
    /// Every match has at least one of these keys.
    AnyOf(Arc<[IndexKey]>),
}
