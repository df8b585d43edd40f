use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::IndexKey;

/// A tag, or a prefix that ends in `*`. A tag that itself ends in `*` is written with `\*` at its end, and backslashes
/// before that are doubled; elsewhere a backslash is an ordinary character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagPattern {
    /// This tag.
    Exact(Arc<str>),
    /// Every tag with this prefix; the empty prefix matches every tag.
    Prefix(Arc<str>),
}

/// Patterns of which one must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TagPatterns {
    exact: HashSet<Arc<str>, RandomState>,
    prefixes: Vec<Arc<str>>,
}

impl TagPattern {
    /// Parses a pattern as it is written.
    pub fn parse(text: &str) -> Self {
        let Some(before) = text.strip_suffix('*') else { return Self::Exact(text.into()) };
        let unescaped = before.trim_end_matches('\\');
        let backslashes = before.len() - unescaped.len();
        let kept = &before[..unescaped.len() + backslashes / 2];
        if backslashes % 2 == 0 { Self::Prefix(kept.into()) } else { Self::Exact(format!("{kept}*").into()) }
    }

    /// Returns the pattern as it is written: what [`TagPattern::parse`] parses as this pattern.
    pub fn written(&self) -> String {
        let doubled = |text: &str| {
            let backslashes = text.len() - text.trim_end_matches('\\').len();
            format!("{text}{}", "\\".repeat(backslashes))
        };
        match self {
            Self::Prefix(prefix) => format!("{}*", doubled(prefix)),
            Self::Exact(tag) => match tag.strip_suffix('*') {
                Some(before) => format!("{}\\*", doubled(before)),
                None => tag.to_string(),
            },
        }
    }

    /// Returns the tag or the prefix.
    pub fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Prefix(text) => text,
        }
    }

    /// True if this tag matches.
    pub fn matches_tag(&self, tag: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *tag,
            Self::Prefix(prefix) => tag.starts_with(&**prefix),
        }
    }

    /// Returns true if every tag that matches `other` also matches this pattern.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Exact(_), Self::Prefix(_)) => false,
            (Self::Prefix(a), Self::Exact(b) | Self::Prefix(b)) => b.starts_with(&**a),
        }
    }

    /// Returns the pattern of the tags that match both; `None` if there are none.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        match () {
            () if self.covers(other) => Some(other.clone()),
            () if other.covers(self) => Some(self.clone()),
            () => None,
        }
    }

    /// Returns the key by which an index finds the posts with a matching tag.
    pub fn key(&self) -> IndexKey {
        match self {
            Self::Exact(tag) => IndexKey::Tag(tag.clone()),
            Self::Prefix(prefix) => IndexKey::Prefix(prefix.clone()),
        }
    }
}

impl TagPatterns {
    /// True if there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty()
    }

    /// True if one of the patterns matches this tag.
    pub fn matches_tag(&self, tag: &str) -> bool {
        self.exact.contains(tag) || self.prefixes.iter().any(|prefix| tag.starts_with(&**prefix))
    }

    /// Returns the texts of all tags and prefixes.
    pub fn texts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.exact.iter().chain(&self.prefixes)
    }

    /// Returns the tags, without the prefixes.
    pub fn exact(&self) -> impl Iterator<Item = &Arc<str>> {
        self.exact.iter()
    }
}

impl From<Vec<TagPattern>> for TagPatterns {
    fn from(terms: Vec<TagPattern>) -> Self {
        let mut sorted = Self::default();
        for term in terms {
            match term {
                TagPattern::Exact(tag) => drop(sorted.exact.insert(tag)),
                TagPattern::Prefix(prefix) => sorted.prefixes.push(prefix),
            }
        }
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_pattern_is_parsed_as_itself() {
        for text in ["", "a", "a*", "*", "a\\", "a\\\\", "a*b", "\\", "a\\*", "a\\\\*"] {
            for pattern in [TagPattern::Exact(text.into()), TagPattern::Prefix(text.into())] {
                assert_eq!(TagPattern::parse(&pattern.written()), pattern, "{}", pattern.written());
            }
            assert_eq!(TagPattern::parse(text).written(), text);
        }
    }
}
