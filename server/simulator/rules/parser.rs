use std::iter::Peekable;

use super::lexer::{Lexeme, Token, split};
use super::text_tokens::tokens;

/// A rule, read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Any(Vec<Expr>),
    All(Vec<Expr>),
    Not(Box<Expr>),
    Is(Operator),
}

/// A condition on a post. Names and texts are in lower case.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operator {
    /// These tokens, one after the other.
    Words(Vec<String>),
    Hashtag(String),
    Mention(String),
    From(String),
    To(String),
    RetweetsOf(String),
    RetweetsOfStatus(String),
    InReplyToStatus(String),
    Contains(String),
    UrlContains(String),
    Lang(String),
    Has(Feature),
    Is(PostKind),
    Place(String),
    Bio(Vec<String>),
    BioName(Vec<String>),
    /// West, south, east, north.
    Box([f64; 4]),
    /// Longitude, latitude, kilometres.
    Near(f64, f64, f64),
}

/// What a post has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    Mentions,
    Geo,
    Links,
    Media,
    Lang,
    Symbols,
    Images,
    Videos,
    Hashtags,
}

/// What a post is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostKind {
    Retweet,
    Reply,
    Quote,
}

/// Kilometres of a mile, for `point_radius:[.. 25mi]`.
const MILE_KM: f64 = 1.609_344;

/// Parses a rule; errors have PowerTrack's texts.
pub(super) fn parse(rule: &str) -> Result<Expr, String> {
    let pieces = split(rule)?;
    let mut parser = Parser { pieces: pieces.into_iter().peekable() };
    let expr = parser.any()?;
    if let Some(piece) = parser.pieces.next() {
        return Err(no_alternative(&piece));
    }
    if !positive(&expr) {
        return Err("Rules must contain a non-negation term (at position 1)\n\
                    Rules must contain at least one positive, non-stopword clause (at position 1)\n"
            .into());
    }
    Ok(expr)
}

struct Parser<I: Iterator<Item = Token>> {
    pieces: Peekable<I>,
}

impl<I: Iterator<Item = Token>> Parser<I> {
    fn any(&mut self) -> Result<Expr, String> {
        let mut branches = vec![self.all()?];
        while self.pieces.next_if(|piece| piece.what == Lexeme::Or).is_some() {
            branches.push(self.all()?);
        }
        Ok(if branches.len() == 1 { branches.remove(0) } else { Expr::Any(branches) })
    }

    /// A space is AND, and binds tighter than OR.
    fn all(&mut self) -> Result<Expr, String> {
        let mut parts = vec![self.part()?];
        while self.pieces.peek().is_some_and(|piece| !matches!(piece.what, Lexeme::Or | Lexeme::Close)) {
            parts.push(self.part()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::All(parts) })
    }

    fn part(&mut self) -> Result<Expr, String> {
        let Some(piece) = self.pieces.next() else {
            return Err("no viable alternative at input '<EOF>'\n".into());
        };
        match &piece.what {
            Lexeme::Minus => Ok(Expr::Not(Box::new(self.part()?))),
            Lexeme::Open => {
                let inner = self.any()?;
                match self.pieces.next() {
                    Some(Token { what: Lexeme::Close, .. }) => Ok(inner),
                    _ => Err(format!("missing ')' for the group opened (at position {})\n", piece.at)),
                }
            }
            Lexeme::Word(word) => word_term(word, piece.at).map(Expr::Is),
            Lexeme::Quoted(phrase) => words(phrase, piece.at).map(Expr::Is),
            Lexeme::Operator(name, value) => operator(name, value, piece.at).map(Expr::Is),
            Lexeme::Close | Lexeme::Or => Err(no_alternative(&piece)),
        }
    }
}

fn no_alternative(piece: &Token) -> String {
    let input = match &piece.what {
        Lexeme::Open => "(",
        Lexeme::Close => ")",
        Lexeme::Or => "OR",
        Lexeme::Minus => "-",
        Lexeme::Word(word) | Lexeme::Quoted(word) | Lexeme::Operator(word, _) => word,
    };
    format!("no viable alternative at input '{input}' (at position {})\n", piece.at)
}

fn positive(expr: &Expr) -> bool {
    match expr {
        Expr::Is(_) => true,
        Expr::Not(_) => false,
        Expr::All(parts) => parts.iter().any(positive),
        Expr::Any(branches) => branches.iter().all(positive),
    }
}

fn word_term(word: &str, at: usize) -> Result<Operator, String> {
    let lower = word.to_lowercase();
    if lower == "and" || lower == "or" {
        let operator = if lower == "and" { "a space" } else { "OR" };
        return Err(format!(
            "Ambiguous use of {lower} as a keyword. Use {operator} to logically join two clauses, or \"{lower}\" to find \
             occurrences of {lower} in text (at position {at})\n"
        ));
    }
    if let Some(name) = lower.strip_prefix('@').filter(|name| !name.is_empty()) {
        return Ok(Operator::Mention(name.into()));
    }
    if let Some(tag) = lower.strip_prefix('#').filter(|tag| !tag.is_empty()) {
        return Ok(Operator::Hashtag(tag.into()));
    }
    words(word, at)
}

fn words(text: &str, at: usize) -> Result<Operator, String> {
    let tokens = tokens(text);
    if tokens.is_empty() {
        return Err(format!("no viable alternative at input '{text}' (at position {at})\n"));
    }
    Ok(Operator::Words(tokens))
}

fn operator(name: &str, value: &str, at: usize) -> Result<Operator, String> {
    let lower = value.to_lowercase();
    let account = || lower.trim_start_matches('@').to_owned();
    let colon = at + name.chars().count();
    if value.is_empty() {
        return Err(format!("Cannot parse rule at ':' (position {colon})\n"));
    }
    Ok(match name {
        "from" => Operator::From(account()),
        "to" => Operator::To(account()),
        "retweets_of" => Operator::RetweetsOf(account()),
        "retweets_of_status_id" => Operator::RetweetsOfStatus(lower),
        "in_reply_to_status_id" => Operator::InReplyToStatus(lower),
        "contains" => Operator::Contains(lower),
        "url_contains" => Operator::UrlContains(lower),
        "lang" => Operator::Lang(lower),
        "place" => Operator::Place(lower),
        "bio" => Operator::Bio(tokens(value)),
        "bio_name" => Operator::BioName(tokens(value)),
        "has" => Operator::Has(feature(&lower).ok_or_else(|| unknown_value(name, value, at))?),
        "is" => Operator::Is(kind(&lower).ok_or_else(|| unknown_value(name, value, at))?),
        "bounding_box" => bounding_box(value).ok_or_else(|| unknown_value(name, value, at))?,
        "point_radius" => point_radius(value).ok_or_else(|| unknown_value(name, value, at))?,
        _ => return Err(format!("Cannot parse rule at ':' (position {colon})\n")),
    })
}

fn unknown_value(name: &str, value: &str, at: usize) -> String {
    format!("Invalid value '{value}' for operator '{name}' (at position {at})\n")
}

fn feature(name: &str) -> Option<Feature> {
    Some(match name {
        "mentions" => Feature::Mentions,
        "geo" => Feature::Geo,
        "links" => Feature::Links,
        "media" => Feature::Media,
        "lang" => Feature::Lang,
        "symbols" => Feature::Symbols,
        "images" => Feature::Images,
        "videos" => Feature::Videos,
        "hashtags" => Feature::Hashtags,
        _ => return None,
    })
}

fn kind(name: &str) -> Option<PostKind> {
    Some(match name {
        "retweet" => PostKind::Retweet,
        "reply" => PostKind::Reply,
        "quote" => PostKind::Quote,
        _ => return None,
    })
}

fn bounding_box(value: &str) -> Option<Operator> {
    let numbers: Vec<f64> = value.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let corners: [f64; 4] = numbers.try_into().ok()?;
    (corners[0] < corners[2] && corners[1] < corners[3]).then_some(Operator::Box(corners))
}

fn point_radius(value: &str) -> Option<Operator> {
    let parts: Vec<&str> = value.split_whitespace().collect();
    let [longitude, latitude, radius] = parts.try_into().ok()?;
    let kilometres = match (radius.strip_suffix("km"), radius.strip_suffix("mi")) {
        (Some(km), _) => km.parse::<f64>().ok()?,
        (_, Some(mi)) => mi.parse::<f64>().ok()? * MILE_KM,
        _ => return None,
    };
    Some(Operator::Near(longitude.parse().ok()?, latitude.parse().ok()?, kilometres))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(text: &str) -> Expr {
        Expr::Is(Operator::Words(tokens(text)))
    }

    fn check(rule: &str, expected: Expr) {
        assert_eq!(parse(rule).as_ref(), Ok(&expected), "{rule}");
    }

    #[test]
    fn and_binds_tighter_than_or() {
        check("cat", words_of("cat"));
        check("a b OR c", Expr::Any(vec![Expr::All(vec![words_of("a"), words_of("b")]), words_of("c")]));
        check("a (b OR c)", Expr::All(vec![words_of("a"), Expr::Any(vec![words_of("b"), words_of("c")])]));
        let not_retweet = Expr::Not(Box::new(Expr::Is(Operator::Is(PostKind::Retweet))));
        check("cat -is:retweet", Expr::All(vec![words_of("cat"), not_retweet]));
    }

    #[test]
    fn operators_take_words_quotes_and_brackets() {
        check("FROM:@Ada", Expr::Is(Operator::From("ada".into())));
        check("\"Hello, World\"", words_of("hello world"));
        check("contains:-2345.432", Expr::Is(Operator::Contains("-2345.432".into())));
        check("url_contains:\"com/x\"", Expr::Is(Operator::UrlContains("com/x".into())));
        check("place:\"Belmont Central\"", Expr::Is(Operator::Place("belmont central".into())));
        check("bounding_box:[1 2 3 4]", Expr::Is(Operator::Box([1.0, 2.0, 3.0, 4.0])));
        check("point_radius:[1 2 10km]", Expr::Is(Operator::Near(1.0, 2.0, 10.0)));
        check(
            "has:links lang:en",
            Expr::All(vec![Expr::Is(Operator::Has(Feature::Links)), Expr::Is(Operator::Lang("en".into()))]),
        );
        check("@Ada", Expr::Is(Operator::Mention("ada".into())));
    }

    fn check_wrong(rule: &str, words: &str) {
        let error = parse(rule).expect_err(rule);
        assert!(error.contains(words), "{rule}: {error}");
    }

    #[test]
    fn errors_have_powertrack_texts() {
        check_wrong("", "no viable alternative at input '<EOF>'");
        check_wrong("cat OR", "no viable alternative at input '<EOF>'");
        check_wrong("cat )", "no viable alternative at input ')' (at position 5)");
        check_wrong("OR cat", "no viable alternative at input 'OR'");
        check_wrong("(cat", "missing ')'");
        check_wrong("\"cat", "unterminated quote");
        check_wrong("cat AND dog", "Ambiguous use of and as a keyword");
        check_wrong("cat or dog", "Ambiguous use of or as a keyword");
        check_wrong("-cat", "Rules must contain a non-negation term");
        check_wrong("cat OR -dog", "Rules must contain a non-negation term");
        check_wrong("猫 nonsense:x", "Cannot parse rule at ':' (position 11)");
        check_wrong("from:", "Cannot parse rule at ':' (position 5)");
        check_wrong("has:wings", "Invalid value 'wings' for operator 'has'");
        check_wrong("!!!", "no viable alternative at input '!!!'");
        check_wrong("bounding_box:[3 2 1 4]", "Invalid value");
    }
}
