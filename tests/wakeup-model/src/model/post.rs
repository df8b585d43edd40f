//! `server/model/post.rs`, reduced to rules. `tests/it/tidy/wakeup.rs` compares the function with the original.

use std::sync::Arc;

/// A rule of X that matched a post: the pair of id and tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// Id that X gave to the rule; `None` when it sent none.
    pub id: Option<u64>,
    /// Tag of the rule, X's word for a label; `None` when it has none.
    pub tag: Option<Arc<str>>,
}

/// Tags of these rules, each once, in order.
pub fn tags(rules: &[Rule]) -> impl Iterator<Item = &Arc<str>> {
    rules.iter().enumerate().filter_map(|(at, rule)| {
        let tag = rule.tag.as_ref().filter(|tag| !tag.is_empty())?;
        let seen = rules[..at].iter().any(|earlier| earlier.tag.as_ref() == Some(tag));
        (!seen).then_some(tag)
    })
}
