//! A rule of X needs a positive term that is no stop word, on each side of an OR.

use crate::query::finding::{Code, Draft, quote_text};
use crate::query::tree::{Node, NodeKind, RuleTerm, is_read_as_phrase};

/// Words that X does not accept as the only term of a rule. The list is of 2016; X calls it subject to change.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "at", "but", "by", "com", "from", "http", "https", "if", "in", "is", "it", "its", "me", "my",
    "not", "or", "rt", "the", "this", "to", "too", "via", "we", "www", "you",
];

/// What a part of a rule contributes to the selection of posts. A side of an OR has that of its strongest term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    /// Only negated terms.
    Negative,
    /// Only stop words.
    StopWords,
    /// A positive term that is no stop word.
    Positive,
}

/// Reports rules without a positive term, and rules that match very many posts.
pub(super) fn check(text: &str, tree: &Node, found: &mut Vec<Draft>) {
    let mut weak = None;
    let whole = strength(tree, &mut weak);
    let draft = match weak {
        Some(sides) => {
            let negative = sides.iter().find(|side| strength(side, &mut None) == Strength::Negative);
            let is_all_negative = sides.iter().all(|side| strength(side, &mut None) == Strength::Negative);
            match negative {
                Some(_) if is_all_negative => negation_only(text),
                Some(side) => negated_or(text, side),
                None => stop_words_only(text, sides),
            }
        }
        None if whole == Strength::Negative => negation_only(text),
        None if whole == Strength::StopWords => stop_words_only(text, std::slice::from_ref(tree)),
        None if !is_specific(tree) => {
            let message = "the rule names no word, author, address or place: it matches very many posts";
            Draft::new(Code::BroadRule, 0..text.len(), message, "add such a term if this is not intended")
        }
        None => return,
    };
    found.push(draft);
}

/// Returns the strength of a part. `weak` gets the sides of the first OR, at any depth, with a side that is not positive.
fn strength<'a>(node: &'a Node, weak: &mut Option<&'a [Node]>) -> Strength {
    match &node.kind {
        NodeKind::Or(sides) => {
            let mut weakest = Strength::Positive;
            for side in sides {
                weakest = weakest.min(strength(side, weak));
            }
            if weakest < Strength::Positive && weak.is_none() {
                *weak = Some(sides);
            }
            weakest
        }
        NodeKind::And(parts) => {
            let mut strongest = Strength::Negative;
            for part in parts {
                strongest = strongest.max(strength(part, weak));
            }
            strongest
        }
        NodeKind::Not(child) => {
            strength(child, weak);
            Strength::Negative
        }
        NodeKind::Term(RuleTerm::Keyword(word)) if is_stop_word(word) => Strength::StopWords,
        NodeKind::Term(_) | NodeKind::Invalid => Strength::Positive,
    }
}

fn is_stop_word(word: &str) -> bool {
    !is_read_as_phrase(word) && STOP_WORDS.iter().any(|stop| word.eq_ignore_ascii_case(stop))
}

fn negation_only(text: &str) -> Draft {
    let message = "all terms are negated: the rule would match almost every post";
    let advice = "add a term without minus sign for what you want";
    Draft::new(Code::NegationOnly, 0..text.len(), message, advice)
}

fn negated_or(text: &str, side: &Node) -> Draft {
    let side = excerpt(&text[side.span.clone()]);
    let message = format!("{side} on one side of OR would match almost every post");
    Draft::new(Code::NegatedOr, 0..text.len(), message, "add a term without minus sign to that side")
}

/// Sides with one stop word are corrected by quotes.
fn stop_words_only(text: &str, sides: &[Node]) -> Draft {
    let weak: Vec<&Node> = sides.iter().filter(|side| strength(side, &mut None) < Strength::Positive).collect();
    let is_word = |side: &&Node| matches!(side.kind, NodeKind::Term(_));
    let is_sure = weak.iter().all(is_word);
    let message = match &weak[..] {
        [word] if is_sure => format!("{} is a stop word and no term by itself", &text[word.span.clone()]),
        _ => "a side of the rule has only stop words".to_owned(),
    };
    let draft = Draft::new(Code::StopwordsOnly, 0..text.len(), message, "put it into quotes, or add another word");
    let quoted = |draft: Draft, word: &&Node| draft.replace(word.span.clone(), quote_text(&text[word.span.clone()]));
    if is_sure { weak.iter().fold(draft, quoted) } else { draft }
}

/// True if each side of the rule has a positive term other than `has:`, `is:` and `lang:`.
fn is_specific(node: &Node) -> bool {
    use crate::query::operator::TextField::Lang;
    match &node.kind {
        NodeKind::Or(sides) => sides.iter().all(is_specific),
        NodeKind::And(parts) => parts.iter().any(is_specific),
        NodeKind::Not(_) => false,
        NodeKind::Term(RuleTerm::Has(_) | RuleTerm::Is(_) | RuleTerm::Field(Lang, _)) => false,
        NodeKind::Term(RuleTerm::Keyword(word)) => !is_stop_word(word),
        NodeKind::Term(_) | NodeKind::Invalid => true,
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
