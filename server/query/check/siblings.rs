//! Terms of one group that repeat or exclude each other, and the place of `sample:`.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::query::canonical::canonical_term;
use crate::query::finding::{Code, Draft};
use crate::query::operator::TextField;
use crate::query::text::normal;
use crate::query::tree::{Node, NodeKind, RuleTerm};

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// Reports repeated and contradicting terms.
pub(super) fn check(tree: &Node, found: &mut Vec<Draft>) {
    let mut waiting = vec![tree];
    let mut fingerprints = Vec::new();
    while let Some(node) = waiting.pop() {
        match &node.kind {
            NodeKind::Or(nodes) | NodeKind::And(nodes) => {
                let is_and = matches!(node.kind, NodeKind::And(_));
                if is_suspect(nodes, is_and, &mut fingerprints) {
                    group(nodes, is_and, found);
                }
                waiting.extend(nodes);
            }
            NodeKind::Not(child) => waiting.push(child),
            NodeKind::Term(_) | NodeKind::Invalid => {}
        }
    }
}

/// False if no two terms can be equal and none can exclude another: most groups, for which no text is built.
fn is_suspect(nodes: &[Node], is_and: bool, fingerprints: &mut Vec<u64>) -> bool {
    fingerprints.clear();
    let mut singles = 0;
    for (term, is_positive) in nodes.iter().filter_map(leaf) {
        singles += usize::from(is_and && is_positive && single_valued(term).is_some());
        fingerprints.push(fingerprint(term));
    }
    fingerprints.sort_unstable();
    singles > 1 || fingerprints.windows(2).any(|pair| pair[0] == pair[1])
}

/// Returns a number that is equal for terms with an equal canonical form (FNV-1a).
fn fingerprint(term: &RuleTerm) -> u64 {
    let (kind, text) = match term {
        // A word with punctuation is a phrase in canonical form.
        RuleTerm::Keyword(text) | RuleTerm::Phrase(text) => (0, text.as_str()),
        RuleTerm::Emoji(text) => (1, text.as_str()),
        RuleTerm::Proximity(text, _) => (2, text.as_str()),
        RuleTerm::Mention(text) => (3, text.as_str()),
        RuleTerm::Hashtag(text) => (4, text.as_str()),
        RuleTerm::Cashtag(text) => (5, text.as_str()),
        RuleTerm::BoundingBox(_) => (6, ""),
        RuleTerm::PointRadius(_) => (7, ""),
        RuleTerm::Count(..) => (8, ""),
        RuleTerm::Sample(_) => (9, ""),
        RuleTerm::Has(feature) => (64 + *feature as u64, ""),
        RuleTerm::Is(kind) => (128 + *kind as u64, ""),
        RuleTerm::Field(field, text) => (192 + *field as u64, text.as_str()),
    };
    let text = if text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(normal::of(text)) };
    text.bytes()
        .fold(FNV_OFFSET ^ kind, |hash, byte| (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(FNV_PRIME))
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
fn leaf(node: &Node) -> Option<(&RuleTerm, bool)> {
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
fn single_valued(term: &RuleTerm) -> Option<(TextField, &str)> {
    use TextField::{From, InReplyToStatusId, Lang, PlaceCountry, RetweetsOf, RetweetsOfStatusId, To};
    match term {
        RuleTerm::Field(
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
            NodeKind::Term(RuleTerm::Sample(_)) if !is_top => {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A group without equal fingerprints is not compared further, so equal terms must have equal ones.
    #[test]
    fn equal_terms_have_equal_fingerprints() {
        let own = |text: &str| text.to_owned();
        let texts =
            [("cat", "CAT"), ("cafe\u{301}", "CAF\u{c9}"), ("\u{212a}", "k"), ("STRASSE", "strasse"), ("a-b", "A-B")];
        let kinds: [fn(String) -> RuleTerm; 8] = [
            RuleTerm::Keyword,
            RuleTerm::Phrase,
            RuleTerm::Emoji,
            RuleTerm::Mention,
            RuleTerm::Hashtag,
            RuleTerm::Cashtag,
            |text| RuleTerm::Proximity(text, 2),
            |text| RuleTerm::Field(TextField::Contains, text),
        ];
        for kind in kinds {
            for (left, right) in texts.map(|(left, right)| (kind(own(left)), kind(own(right)))) {
                assert_eq!(canonical_term(&left), canonical_term(&right));
                assert_eq!(fingerprint(&left), fingerprint(&right), "{left:?} {right:?}");
            }
        }
        let (keyword, phrase) = (RuleTerm::Keyword(own("a-b")), RuleTerm::Phrase(own("a-b")));
        assert_eq!(canonical_term(&keyword), canonical_term(&phrase));
        assert_eq!(fingerprint(&keyword), fingerprint(&phrase));
        assert_ne!(fingerprint(&RuleTerm::Keyword(own("cat"))), fingerprint(&RuleTerm::Mention(own("cat"))));
    }
}
