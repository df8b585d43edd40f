//! Operators of a rule, as calibration counts them: readings that may differ have names of their own.

use crate::query::text::chars;
use crate::query::tree::{Node, NodeKind, RuleTerm, is_read_as_phrase};

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

fn operator(term: &RuleTerm) -> &'static str {
    let has_cjk = |text: &str| text.contains(chars::is_cjk);
    match term {
        RuleTerm::Keyword(text) if has_cjk(text) => "keyword_cjk",
        RuleTerm::Keyword(text) if is_read_as_phrase(text) => "keyword_punctuation",
        RuleTerm::Keyword(_) => "keyword",
        RuleTerm::Emoji(_) => "emoji",
        RuleTerm::Phrase(text) if has_cjk(text) => "phrase_cjk",
        RuleTerm::Phrase(_) => "phrase",
        RuleTerm::Proximity(..) => "proximity",
        RuleTerm::Mention(_) => "mention",
        RuleTerm::Hashtag(_) => "hashtag",
        RuleTerm::Cashtag(_) => "cashtag",
        RuleTerm::Field(field, _) => field.as_str(),
        RuleTerm::Has(_) => "has",
        RuleTerm::Is(_) => "is",
        RuleTerm::BoundingBox(_) => "bounding_box",
        RuleTerm::PointRadius(_) => "point_radius",
        RuleTerm::Count(field, ..) => field.as_str(),
        RuleTerm::Sample(_) => SAMPLE,
    }
}
