//! Decides whether a post matches a rule.
//!
//! Owns: the form of a rule that is compared with posts (`RuleMatcher`, `condition`), and the readings of phrases (`phrase`),
//! words near each other (`proximity`), areas (`geo`) and samples (`sample`). Does not own: which fields of a post a term
//! reads (`facts`), the index over many rules.

mod condition;
mod geo;
mod phrase;
mod proximity;
mod sample;

use super::facts::Facts;
use super::settings::QuerySettings;
use super::tree::{Node, NodeKind};
use condition::Condition;

/// A rule in the form that is compared with posts.
#[derive(Clone, Debug)]
pub struct RuleMatcher {
    root: Part,
}

#[derive(Clone, Debug)]
enum Part {
    Any(Vec<Part>),
    All(Vec<Part>),
    Not(Box<Part>),
    Is(Condition),
    /// Of a rule with errors: matches nothing.
    Never,
}

impl RuleMatcher {
    /// Prepares a tree. The facts must have been read with the same [`QuerySettings::cjk_tokens`].
    pub fn new(tree: &Node, settings: &QuerySettings) -> Self {
        Self { root: part(tree, settings) }
    }

    /// True if a post matches.
    pub fn matches(&self, facts: &Facts) -> bool {
        self.root.matches(facts)
    }
}

fn part(node: &Node, settings: &QuerySettings) -> Part {
    let parts = |nodes: &[Node]| nodes.iter().map(|node| part(node, settings)).collect();
    match &node.kind {
        NodeKind::Or(sides) => Part::Any(parts(sides)),
        NodeKind::And(nodes) => Part::All(parts(nodes)),
        NodeKind::Not(child) => Part::Not(Box::new(part(child, settings))),
        NodeKind::Term(term) => Part::Is(Condition::new(term, settings)),
        NodeKind::Invalid => Part::Never,
    }
}

impl Part {
    fn matches(&self, facts: &Facts) -> bool {
        match self {
            Self::Any(sides) => sides.iter().any(|side| side.matches(facts)),
            Self::All(parts) => parts.iter().all(|part| part.matches(facts)),
            Self::Not(part) => !part.matches(facts),
            Self::Is(condition) => condition.matches(facts),
            Self::Never => false,
        }
    }
}
