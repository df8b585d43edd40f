//! Terms of one group that repeat or exclude each other, and the place of `sample:`.

use std::collections::HashMap;

use crate::query::canonical::canonical_term;
use crate::query::finding::{Code, Draft};
use crate::query::operator::TextField;
use crate::query::tree::{Node, NodeKind, Term};

/// Reports repeated and contradicting terms.
pub(super) fn check(tree: &Node, found: &mut Vec<Draft>) {
    let mut waiting = vec![tree];
    while let Some(node) = waiting.pop() {
        match &node.kind {
            NodeKind::Or(nodes) => {
                group(nodes, false, found);
                waiting.extend(nodes);
            }
            NodeKind::And(nodes) => {
                group(nodes, true, found);
                waiting.extend(nodes);
            }
            NodeKind::Not(child) => waiting.push(child),
            NodeKind::Term(_) | NodeKind::Invalid => {}
        }
    }
}

fn group(nodes: &[Node], is_and: bool, found: &mut Vec<Draft>) {
    // Terms with whether they occur positive and negated.
    let mut seen: HashMap<String, [bool; 2]> = HashMap::with_capacity(nodes.len());
    let mut single: HashMap<(TextField, bool), String> = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        let Some((term, is_positive)) = leaf(node) else { continue };
        let key = canonical_term(term);
        let before = seen.get(&key).copied().unwrap_or_default();
        if before[usize::from(is_positive)] {
            let draft = Draft::new(Code::Redundant, node.span.clone(), format!("{key} is there twice"), "remove one");
            let before = at.checked_sub(1).map_or(node.span.start, |before| nodes[before].span.end);
            found.push(draft.replace(before..node.span.end, ""));
            continue;
        }
        if is_and && before[usize::from(!is_positive)] {
            let message = format!("{key} is required and excluded: no post matches both");
            found.push(Draft::new(Code::Contradiction, node.span.clone(), message, "remove one of the two"));
        }
        if let (true, true, Some((field, text))) = (is_and, is_positive, single_valued(term)) {
            let is_id = text.bytes().all(|byte| byte.is_ascii_digit());
            if let Some(other) = single.insert((field, is_id), key.clone()) {
                let message = format!("no post matches both {other} and {key}");
                let advice = format!("join them with OR: ({other} OR {key})");
                found.push(Draft::new(Code::Contradiction, node.span.clone(), message, advice));
            }
        }
        seen.entry(key).or_default()[usize::from(is_positive)] = true;
    }
}

/// Returns a term and whether it is positive.
fn leaf(node: &Node) -> Option<(&Term, bool)> {
    match &node.kind {
        NodeKind::Term(term) => Some((term, true)),
        NodeKind::Not(child) => match &child.kind {
            NodeKind::Term(term) => Some((term, false)),
            _ => None,
        },
        _ => None,
    }
}

/// Returns fields of which a post has one value. Names and ids of users are compared only among themselves.
fn single_valued(term: &Term) -> Option<(TextField, &str)> {
    use TextField::{From, InReplyToStatusId, Lang, PlaceCountry, RetweetsOf, RetweetsOfStatusId, To};
    match term {
        Term::Field(
            field @ (From | To | Lang | RetweetsOf | RetweetsOfStatusId | InReplyToStatusId | PlaceCountry),
            text,
        ) => Some((*field, text)),
        _ => None,
    }
}

/// Reports `sample:` anywhere but in the topmost AND.
pub(super) fn check_sample(tree: &Node, found: &mut Vec<Draft>) {
    let mut waiting = vec![(tree, true)];
    while let Some((node, is_top)) = waiting.pop() {
        match &node.kind {
            NodeKind::Or(nodes) => waiting.extend(nodes.iter().map(|node| (node, false))),
            NodeKind::And(nodes) => waiting.extend(nodes.iter().map(|node| (node, is_top))),
            NodeKind::Not(child) => waiting.push((child, is_top)),
            NodeKind::Term(Term::Sample(_)) if !is_top => {
                let message = "sample: applies to the whole rule and cannot be part of an OR";
                let draft = Draft::new(
                    Code::SampleWithOr,
                    node.span.clone(),
                    message,
                    "put the ORs into brackets: (a OR b) sample:10",
                );
                found.push(with_brackets(tree, node, draft));
            }
            NodeKind::Term(_) | NodeKind::Invalid => {}
        }
    }
}

/// Adds brackets around the topmost OR, if the sample follows it.
fn with_brackets(tree: &Node, sample: &Node, draft: Draft) -> Draft {
    let NodeKind::Or(sides) = &tree.kind else { return draft };
    match sides.last().map(|side| &side.kind) {
        Some(NodeKind::And(parts)) if parts.len() > 1 && parts[parts.len() - 1].span == sample.span => {
            let end = parts[parts.len() - 2].span.end;
            draft.replace(tree.span.start..tree.span.start, "(").replace(end..end, ")")
        }
        _ => draft,
    }
}
