use std::iter::Peekable;
use std::str::CharIndices;

/// A piece of a rule and the place where it begins, counted in characters from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) what: Lexeme,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lexeme {
    Open,
    Close,
    Or,
    Minus,
    /// A bare word, or the name and value of an operator.
    Word(String),
    Quoted(String),
    Operator(String, String),
}

/// The pieces of a rule in their order.
pub(super) fn split(rule: &str) -> Result<Vec<Token>, String> {
    let mut pieces = Vec::new();
    let mut chars = rule.char_indices().peekable();
    let mut position = 0;
    while let Some(&(start, c)) = chars.peek() {
        position += 1;
        let at = position;
        let single = match c {
            '(' => Some(Lexeme::Open),
            ')' => Some(Lexeme::Close),
            '-' => Some(Lexeme::Minus),
            _ => None,
        };
        if c.is_whitespace() || single.is_some() {
            chars.next();
            pieces.extend(single.map(|what| Token { at, what }));
            continue;
        }
        let what = if c == '"' { Lexeme::Quoted(quoted(&mut chars, at)?) } else { word(rule, &mut chars, at)? };
        let end = chars.peek().map_or(rule.len(), |(end, _)| *end);
        position += rule[start..end].chars().count() - 1;
        pieces.push(Token { at, what });
    }
    Ok(pieces)
}

type Chars<'a> = Peekable<CharIndices<'a>>;

/// What stands between the quotes; `\"` is a quote within.
fn quoted(chars: &mut Chars<'_>, at: usize) -> Result<String, String> {
    chars.next();
    let mut text = String::new();
    while let Some((_, c)) = chars.next() {
        match c {
            '"' => return Ok(text),
            '\\' => text.extend(chars.next().map(|(_, escaped)| escaped)),
            c => text.push(c),
        }
    }
    Err(format!("unterminated quote (at position {at})\n"))
}

fn word(rule: &str, chars: &mut Chars<'_>, at: usize) -> Result<Lexeme, String> {
    let start = chars.peek().map_or(rule.len(), |(start, _)| *start);
    while let Some(&(end, c)) = chars.peek() {
        if c == ':' {
            let name = rule[start..end].to_lowercase();
            chars.next();
            return Ok(Lexeme::Operator(name, value(rule, chars, at)?));
        }
        if c.is_whitespace() || matches!(c, '(' | ')' | '"') {
            break;
        }
        chars.next();
    }
    let end = chars.peek().map_or(rule.len(), |(end, _)| *end);
    let word = &rule[start..end];
    Ok(if word == "OR" { Lexeme::Or } else { Lexeme::Word(word.to_owned()) })
}

/// The value of an operator: quoted, in brackets, or up to the next space.
fn value(rule: &str, chars: &mut Chars<'_>, at: usize) -> Result<String, String> {
    match chars.peek() {
        Some(&(_, '"')) => quoted(chars, at),
        Some(&(_, '[')) => {
            chars.next();
            let text: String = chars.by_ref().map(|(_, c)| c).take_while(|c| *c != ']').collect();
            Ok(text)
        }
        start => {
            let start = start.map_or(rule.len(), |(start, _)| *start);
            while chars.next_if(|(_, c)| !c.is_whitespace() && !matches!(c, '(' | ')')).is_some() {}
            let end = chars.peek().map_or(rule.len(), |(end, _)| *end);
            Ok(rule[start..end].to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_know_where_they_begin() {
        let pieces = split("猫 -(from:ada OR \"a \\\" b\")").expect("well formed");
        let quoted = Lexeme::Quoted("a \" b".into());
        let expected = [
            (1, Lexeme::Word("猫".into())),
            (3, Lexeme::Minus),
            (4, Lexeme::Open),
            (5, Lexeme::Operator("from".into(), "ada".into())),
            (14, Lexeme::Or),
            (17, quoted),
            (25, Lexeme::Close),
        ];
        assert_eq!(pieces, expected.map(|(at, what)| Token { at, what }));
    }
}
