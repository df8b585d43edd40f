//! A rule without errors.

use super::canonical::canonical;
use super::matching::RuleMatcher;
use super::print::print;
use super::settings::QuerySettings;
use super::tree::Node;

/// A rule without errors, and the settings that it was checked with.
#[derive(Clone, Debug)]
pub struct Query {
    tree: Node,
    settings: QuerySettings,
}

impl Query {
    pub(super) fn new(tree: Node, settings: QuerySettings) -> Self {
        Self { tree, settings }
    }

    /// Syntax tree.
    pub fn tree(&self) -> &Node {
        &self.tree
    }

    /// Settings of the check.
    pub fn settings(&self) -> &QuerySettings {
        &self.settings
    }

    /// Returns the rule with single spaces and without needless brackets.
    pub fn print(&self) -> String {
        print(&self.tree)
    }

    /// Returns one text for all rules that are equal but for order, brackets, case and repetition.
    pub fn canonical(&self) -> String {
        canonical(&self.tree)
    }

    /// Prepares the rule for posts, of which the facts were read with the same [`QuerySettings::cjk_tokens`].
    pub fn matcher(&self) -> RuleMatcher {
        RuleMatcher::new(&self.tree, &self.settings)
    }
}
