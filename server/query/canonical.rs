//! One text for rules that are equal but for order, brackets, case and repetition.

use super::print::{print, print_term};
use super::text::normal;
use super::tree::{Node, NodeKind, RuleTerm, is_read_as_phrase};

/// Returns the canonical form of a tree. It matches the same posts. It may be longer than the rule, as lower case is
/// longer than upper case for a few characters and words with punctuation are in quotes.
pub fn canonical(node: &Node) -> String {
    print(&reduced(node))
}

/// Returns the canonical form of a term.
pub fn canonical_term(term: &RuleTerm) -> String {
    print_term(&normal_term(term))
}

fn reduced(node: &Node) -> Node {
    let kind = match &node.kind {
        NodeKind::Or(sides) => {
            let mut all = Vec::new();
            for side in sides.iter().map(reduced) {
                match side.kind {
                    NodeKind::Or(inner) => all.extend(inner),
                    _ => all.push(side),
                }
            }
            return sorted(all, NodeKind::Or);
        }
        NodeKind::And(parts) => {
            let mut all = Vec::new();
            for part in parts.iter().map(reduced) {
                match part.kind {
                    NodeKind::And(inner) => all.extend(inner),
                    _ => all.push(part),
                }
            }
            return sorted(all, NodeKind::And);
        }
        NodeKind::Not(child) => {
            let child = reduced(child);
            match child.kind {
                NodeKind::Not(inner) => return *inner,
                _ => NodeKind::Not(Box::new(child)),
            }
        }
        NodeKind::Term(term) => NodeKind::Term(normal_term(term)),
        NodeKind::Invalid => NodeKind::Invalid,
    };
    Node { span: node.span.clone(), kind }
}

fn sorted(nodes: Vec<Node>, kind: fn(Vec<Node>) -> NodeKind) -> Node {
    let mut keyed: Vec<_> = nodes.into_iter().map(|node| (print(&node), node)).collect();
    keyed.sort_by(|(left, _), (right, _)| left.cmp(right));
    keyed.dedup_by(|(left, _), (right, _)| left == right);
    let mut nodes: Vec<_> = keyed.into_iter().map(|(_, node)| node).collect();
    match nodes.len() {
        1 => nodes.remove(0),
        _ => Node { span: 0..0, kind: kind(nodes) },
    }
}

fn normal_term(term: &RuleTerm) -> RuleTerm {
    match term {
        // A text that ends with a backslash cannot be put into quotes.
        RuleTerm::Keyword(word) if is_read_as_phrase(word) && !word.ends_with('\\') => {
            RuleTerm::Phrase(normal::of(word))
        }
        RuleTerm::Keyword(word) => RuleTerm::Keyword(normal::of(word)),
        RuleTerm::Emoji(emoji) => RuleTerm::Emoji(normal::of(emoji)),
        RuleTerm::Phrase(text) => RuleTerm::Phrase(normal::of(text)),
        RuleTerm::Proximity(text, distance) => RuleTerm::Proximity(normal::of(text), *distance),
        RuleTerm::Mention(name) => RuleTerm::Mention(normal::of(name)),
        RuleTerm::Hashtag(tag) => RuleTerm::Hashtag(normal::of(tag)),
        RuleTerm::Cashtag(symbol) => RuleTerm::Cashtag(normal::of(symbol)),
        RuleTerm::Field(field, text) => RuleTerm::Field(*field, normal::of(text)),
        RuleTerm::Has(_)
        | RuleTerm::Is(_)
        | RuleTerm::BoundingBox(_)
        | RuleTerm::PointRadius(_)
        | RuleTerm::Count(..)
        | RuleTerm::Sample(_) => term.clone(),
    }
}
