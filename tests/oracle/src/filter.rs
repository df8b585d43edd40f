//! Filters, after the words of the API.

use crate::history::Rule;

/// Which posts a subscription wants. An empty list asks nothing; a name that ends in `*` is a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these tags, or one of the rules.
    pub any: Vec<String>,
    /// All of these tags.
    pub all: Vec<String>,
    /// None of these tags.
    pub none: Vec<String>,
    /// One of these rules, or one of the tags of `any`.
    pub rules: Vec<u64>,
}

impl Filter {
    /// True if a post under these rules is wanted.
    pub fn takes(&self, rules: &[Rule]) -> bool {
        let has = |pattern: &String| {
            let fits = |tag: &str| match pattern.strip_suffix('*') {
                Some(prefix) => tag.starts_with(prefix),
                None => tag == pattern,
            };
            rules.iter().filter_map(|rule| rule.tag.as_deref()).any(fits)
        };
        let is_open = self.any.is_empty() && self.rules.is_empty();
        let by_rule = |id: &u64| *id != 0 && rules.iter().any(|rule| rule.id == *id);
        (is_open || self.any.iter().any(has) || self.rules.iter().any(by_rule))
            && self.all.iter().all(has)
            && !self.none.iter().any(has)
    }
}
