//! `server/model/post.rs`, reduced to rules. `tests/it/architecture/wakeup.rs` compares the function with the original.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// A rule of X that matched a post: the pair of id and tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// Id that X gave to the rule; `None` when it sent none.
    pub id: Option<u64>,
    /// Tag of the rule, X's word for a label; `None` when it has none.
    pub tag: Option<Arc<str>>,
}

impl Rule {
    /// The tag, unless it is empty.
    pub fn tag(&self) -> Option<&Arc<str>> {
        self.tag.as_ref().filter(|tag| !tag.is_empty())
    }
}

/// Up to so many rules are compared with one another, which costs less than a table.
const FEW: usize = 16;

/// Tags of these rules, each once, in order.
pub fn tags(rules: &[Rule]) -> impl Iterator<Item = &Arc<str>> {
    let mut known = (rules.len() > FEW).then(HashSet::<&str, RandomState>::default);
    rules.iter().enumerate().filter_map(move |(at, rule)| {
        let tag = rule.tag()?;
        let is_new = match &mut known {
            Some(known) => known.insert(tag),
            None => !rules[..at].iter().any(|earlier| earlier.tag.as_ref() == Some(tag)),
        };
        is_new.then_some(tag)
    })
}
