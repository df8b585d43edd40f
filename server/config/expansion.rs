//! Computes the size of a YAML text after alias expansion, without expanding it.
//!
//! A few lines of nested aliases expand to billions of nodes, and thousands of nesting levels overflow the stack. Both
//! are refused before the text is parsed.

use std::collections::HashMap;

use yaml_rust2::Event;
use yaml_rust2::parser::Parser;

/// Maximum number of values of a file, aliases expanded. A thousand accounts need a fifth of it.
const NODES_MAX: usize = 50_000;
/// Maximum nesting; the configuration has five levels.
const DEPTH_MAX: usize = 32;

/// Refuses a text that is too large or too deep. Invalid YAML is accepted here: the parser reports it.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut parser = Parser::new_from_str(text);
    // Open collections: anchor and number of nodes so far.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut anchored: HashMap<usize, usize> = HashMap::new();
    loop {
        let (anchor, nodes) = match parser.next_token() {
            Err(_) | Ok((Event::StreamEnd, _)) => return Ok(()),
            Ok((Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _), _)) => {
                if open.len() == DEPTH_MAX {
                    return Err(format!("the file is nested deeper than {DEPTH_MAX} levels"));
                }
                open.push((anchor, 1));
                continue;
            }
            Ok((Event::SequenceEnd | Event::MappingEnd, _)) => open.pop().unwrap_or_default(),
            Ok((Event::Scalar(_, _, anchor, _), _)) => (anchor, 1),
            // An anchor inside itself is not closed yet; the parser refuses it.
            Ok((Event::Alias(anchor), _)) => (0, anchored.get(&anchor).copied().unwrap_or(1)),
            Ok(_) => continue,
        };
        if anchor > 0 {
            anchored.insert(anchor, nodes);
        }
        let all = match open.last_mut() {
            Some((_, outer)) => {
                *outer = outer.saturating_add(nodes);
                *outer
            }
            None => nodes,
        };
        if all > NODES_MAX {
            return Err(format!("the file has more than {NODES_MAX} values, aliases expanded"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nine lines of nine aliases each ran `check` for more than 20 s.
    #[test]
    fn nested_aliases_are_refused_before_expansion() {
        let level = |n: u8| {
            let (own, inner) = (char::from(b'a' + n), char::from(b'a' + n - 1));
            format!("{own}: &{own} [{}]\n", vec![format!("*{inner}"); 9].join(", "))
        };
        let laughs = |levels: u8| "a: &a [lol, lol]\n".to_owned() + &(1..levels).map(level).collect::<String>();
        assert_eq!(check(&laughs(4)), Ok(()));
        for levels in [6, 9, 25] {
            assert!(check(&laughs(levels)).expect_err("refused").contains("aliases expanded"), "{levels}");
        }
        assert!(check(&"- x\n".repeat(NODES_MAX + 1)).is_err());
        assert_eq!(check(&"- x\n".repeat(NODES_MAX - 1)), Ok(()));
    }

    #[test]
    fn deep_nesting_is_refused_before_reading() {
        let indented: String = (0..1_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        let flow = "[".repeat(100) + &"]".repeat(100);
        for deep in [flow, "- ".repeat(1 << 18), indented] {
            assert!(check(&deep).is_err_and(|text| text.contains("deeper than")), "{}", &deep[..20]);
        }
        // The scanner itself refuses these at any depth without recursion.
        for broken in ["[".repeat(1 << 19), "{a: ".repeat(1 << 17), "[".repeat(200)] {
            let read = super::super::layers::parse(&broken, config::FileFormat::Yaml);
            assert!(check(&broken).is_err() || read.is_err(), "{}", &broken[..20]);
        }
        assert_eq!(check("accounts: [{ bearer: { file: x } }]"), Ok(()));
        assert_eq!(check("a: *a"), Ok(()), "left to the reader");
    }
}
