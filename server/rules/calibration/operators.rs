//! Operators of a rule, as calibration counts them: readings that may differ have names of their own.

use crate::query::text::chars;
use crate::query::tree::{Node, NodeKind, Term, is_read_as_phrase};

/// X's sample of posts is not known, so that nothing else can be concluded from a rule with it.
const SAMPLE: &str = "sample";

/// Returns the operators of a rule, each once, in order.
pub fn operators(tree: &Node) -> Vec<&'static str> {
    let mut found = Vec::new();
    collect(tree, &mut found);
    found.sort_unstable();
    found.dedup();
    if found.contains(&SAMPLE) { vec![SAMPLE] } else { found }
}

fn collect(node: &Node, found: &mut Vec<&'static str>) {
    match &node.kind {
        NodeKind::Or(children) | NodeKind::And(children) => children.iter().for_each(|child| collect(child, found)),
        NodeKind::Not(child) => {
            found.push("not");
            collect(child, found);
        }
        NodeKind::Term(term) => found.push(operator(term)),
        NodeKind::Invalid => {}
    }
}

fn operator(term: &Term) -> &'static str {
    let has_cjk = |text: &str| text.contains(chars::is_cjk);
    match term {
        Term::Keyword(text) if has_cjk(text) => "keyword_cjk",
        Term::Keyword(text) if is_read_as_phrase(text) => "keyword_punctuation",
        Term::Keyword(_) => "keyword",
        Term::Emoji(_) => "emoji",
        Term::Phrase(text) if has_cjk(text) => "phrase_cjk",
        Term::Phrase(_) => "phrase",
        Term::Proximity(..) => "proximity",
        Term::Mention(_) => "mention",
        Term::Hashtag(_) => "hashtag",
        Term::Cashtag(_) => "cashtag",
        Term::Field(field, _) => field.as_str(),
        Term::Has(_) => "has",
        Term::Is(_) => "is",
        Term::BoundingBox(_) => "bounding_box",
        Term::PointRadius(_) => "point_radius",
        Term::Count(field, ..) => field.as_str(),
        Term::Sample(_) => SAMPLE,
    }
}
