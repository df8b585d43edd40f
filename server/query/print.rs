//! Prints a tree as a rule, with as few brackets as possible. Parsing the text gives an equal tree.

use super::finding::quote_text;
use super::operator::{Argument, TextField};
use super::text::chars;
use super::tree::{Node, NodeKind, RuleTerm};

/// Returns the rule of a tree.
pub fn print(node: &Node) -> String {
    let mut out = String::new();
    append(node, &mut out);
    out
}

fn append(node: &Node, out: &mut String) {
    match &node.kind {
        NodeKind::Or(sides) => {
            for (at, side) in sides.iter().enumerate() {
                out.push_str(if at > 0 { " OR " } else { "" });
                append_in(side, matches!(side.kind, NodeKind::Or(_)), out);
            }
        }
        NodeKind::And(parts) => {
            for (at, part) in parts.iter().enumerate() {
                out.push_str(if at > 0 { " " } else { "" });
                append_in(part, matches!(part.kind, NodeKind::Or(_) | NodeKind::And(_)), out);
            }
        }
        NodeKind::Not(child) => {
            out.push('-');
            append_in(child, !matches!(child.kind, NodeKind::Term(_) | NodeKind::Invalid), out);
        }
        NodeKind::Term(term) => out.push_str(&print_term(term)),
        NodeKind::Invalid => {}
    }
}

fn append_in(node: &Node, has_brackets: bool, out: &mut String) {
    out.push_str(if has_brackets { "(" } else { "" });
    append(node, out);
    out.push_str(if has_brackets { ")" } else { "" });
}

/// Returns a term as in a rule.
pub fn print_term(term: &RuleTerm) -> String {
    match term {
        RuleTerm::Keyword(text) | RuleTerm::Emoji(text) => text.clone(),
        RuleTerm::Phrase(text) => quote_text(text),
        RuleTerm::Proximity(text, distance) => format!("{}~{distance}", quote_text(text)),
        RuleTerm::Mention(name) => format!("@{name}"),
        RuleTerm::Hashtag(tag) => format!("#{tag}"),
        RuleTerm::Cashtag(symbol) => format!("${symbol}"),
        RuleTerm::Field(field, text) if is_bare(*field, text) => format!("{}:{text}", field.as_str()),
        RuleTerm::Field(field, text) => format!("{}:{}", field.as_str(), quote_text(text)),
        RuleTerm::Has(feature) => format!("has:{}", feature.as_str()),
        RuleTerm::Is(kind) => format!("is:{}", kind.as_str()),
        RuleTerm::BoundingBox(area) => {
            format!("bounding_box:[{} {} {} {}]", area.west, area.south, area.east, area.north)
        }
        RuleTerm::PointRadius(circle) => {
            let (longitude, latitude, radius) = (circle.longitude, circle.latitude, circle.radius);
            format!("point_radius:[{longitude} {latitude} {radius}{}]", circle.unit.as_str())
        }
        RuleTerm::Count(field, least, None) => format!("{}:{least}", field.as_str()),
        RuleTerm::Count(field, least, Some(most)) => format!("{}:{least}..{most}", field.as_str()),
        RuleTerm::Sample(percent) => format!("sample:{percent}"),
    }
}

/// True if a value needs no quotes.
fn is_bare(field: TextField, text: &str) -> bool {
    let is_inner = |c: char| !matches!(c, '(' | ')' | '"') && !chars::is_space(c) && !chars::is_control(c);
    let is_plain = |c: char| is_inner(c) && !chars::is_punctuation(c);
    match field.argument() {
        Argument::User | Argument::PostId | Argument::Lang | Argument::Country => true,
        Argument::Substring => text.chars().all(is_plain) || (!text.contains('"') && is_number(text)),
        Argument::Words => text.chars().next().is_some_and(is_plain) && text.chars().all(is_inner),
    }
}

/// True for a number with an optional minus sign and point, or a word after a minus sign.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_part = |c: char| c == '.' || (!chars::is_punctuation(c) && !chars::is_space(c) && !chars::is_control(c));
    let points_are_inside =
        digits.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    !digits.is_empty() && digits.chars().all(is_part) && (!digits.contains('.') || points_are_inside)
}
