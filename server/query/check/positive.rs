//! A rule of X needs a positive term that is no stop word, on each side of an OR.

use crate::query::finding::{Code, Draft};
use crate::query::parser::quote_text;
use crate::query::tree::{Node, NodeKind, Term, is_read_as_phrase};

/// Words that X does not accept as the only term of a rule. The list is of 2016; X calls it subject to change.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "at", "but", "by", "com", "from", "http", "https", "if", "in", "is", "it", "its", "me", "my",
    "not", "or", "rt", "the", "this", "to", "too", "via", "we", "www", "you",
];

/// Reports rules without a positive term, and rules that match very many posts.
pub(super) fn check(text: &str, tree: &Node, found: &mut Vec<Draft>) {
    let whole = 0..text.len();
    if !has(tree, &is_positive) {
        let draft = if is_half_negated(tree) {
            let side = negated_side(tree).map_or("", |side| &text[side.span.clone()]);
            let message = format!("{} on one side of OR would match almost every post", excerpt(side));
            Draft::new(Code::NegatedOr, whole, message, "add a term without minus sign to that side")
        } else {
            let message = "all terms are negated: the rule would match almost every post";
            Draft::new(Code::NegationOnly, whole, message, "add a term without minus sign for what you want")
        };
        return found.push(draft);
    }
    if !has(tree, &is_selective) {
        let mut words = Vec::new();
        let is_sure = stop_words(tree, &mut words);
        let message = match &words[..] {
            [word] => format!("{} is a stop word and no term by itself", &text[word.span.clone()]),
            _ => "a side of the rule has only stop words".to_owned(),
        };
        let draft = Draft::new(Code::StopwordsOnly, whole, message, "put it into quotes, or add another word");
        let quoted =
            |draft: Draft, word: &&Node| draft.replace(word.span.clone(), quote_text(&text[word.span.clone()]));
        return found.push(if is_sure { words.iter().fold(draft, quoted) } else { draft });
    }
    if !has(tree, &is_specific) {
        let message = "the rule names no word, author, address or place: it matches very many posts";
        found.push(Draft::new(Code::BroadRule, whole, message, "add such a term if this is not intended"));
    }
}

/// True if each side of the rule has a positive term of a kind.
fn has(node: &Node, is_wanted: &impl Fn(&Term) -> bool) -> bool {
    match &node.kind {
        NodeKind::Or(sides) => sides.iter().all(|side| has(side, is_wanted)),
        NodeKind::And(parts) => parts.iter().any(|part| has(part, is_wanted)),
        NodeKind::Not(_) => false,
        NodeKind::Term(term) => is_wanted(term),
        NodeKind::Invalid => true,
    }
}

fn is_positive(_: &Term) -> bool {
    true
}

fn is_selective(term: &Term) -> bool {
    match term {
        Term::Keyword(word) => {
            is_read_as_phrase(word) || !STOP_WORDS.iter().any(|stop| word.eq_ignore_ascii_case(stop))
        }
        _ => true,
    }
}

fn is_specific(term: &Term) -> bool {
    use crate::query::operator::TextField::Lang;
    is_selective(term) && !matches!(term, Term::Has(_) | Term::Is(_) | Term::Field(Lang, _))
}

/// True if an OR without positive term has a side with one.
fn is_half_negated(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Or(sides) => sides.iter().any(|side| has(side, &is_positive) || is_half_negated(side)),
        NodeKind::And(parts) => parts.iter().any(is_half_negated),
        _ => false,
    }
}

/// Returns the first side of an OR that has no positive term, next to a side with one.
fn negated_side(node: &Node) -> Option<&Node> {
    match &node.kind {
        NodeKind::Or(sides) => {
            let is_negated = |side: &&Node| !has(side, &is_positive) && !is_half_negated(side);
            sides.iter().find_map(negated_side).or_else(|| sides.iter().find(is_negated))
        }
        NodeKind::And(parts) => parts.iter().find_map(negated_side),
        _ => None,
    }
}

/// Number of characters of a rule that a message quotes.
const EXCERPT_CHARS_MAX: usize = 40;

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Collects the stop words that stand alone. Returns false if a side has several terms.
fn stop_words<'a>(node: &'a Node, words: &mut Vec<&'a Node>) -> bool {
    match &node.kind {
        NodeKind::Or(sides) => {
            let without = sides.iter().filter(|side| !has(side, &is_selective));
            // All sides are visited: each stop word is quoted.
            let mut is_sure = true;
            for side in without {
                is_sure &= stop_words(side, words);
            }
            is_sure
        }
        NodeKind::Term(_) => {
            words.push(node);
            true
        }
        _ => false,
    }
}
