use super::lexer::{RuleLexeme, RuleLexer, Token};
use super::operator::RuleOperator;
use super::syntax_error::{Fault, SyntaxError};

/// UTF-16 code units of a rule (Powerstream introduction; the unit is that of X's positions).
pub(super) const VALUE_UNITS_MAX: usize = 2_048;

/// A parsed rule. Its depth is bounded by its length.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Any(Vec<Expr>),
    All(Vec<Expr>),
    Not(Box<Expr>),
    Is(RuleOperator),
}

/// Whether an expression selects posts, in order of strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Selection {
    Negative,
    StopWords,
    Positive,
}

/// Parses a rule. Returns the first fault, with X's text.
pub(super) fn parse(rule: &str) -> Result<Expr, SyntaxError> {
    if rule.trim().is_empty() {
        return Err(SyntaxError::new(Fault::EmptyRule, 1, ""));
    }
    let mut lexer = RuleLexer::new(rule);
    if lexer.end() - 1 > VALUE_UNITS_MAX {
        return Err(SyntaxError::new(Fault::TooLong, 1, rule));
    }
    if let Some(position) = lexer.control_character() {
        return Err(SyntaxError::new(Fault::ControlCharacter, position, ""));
    }
    let mut parser = Parser::default();
    while let Some(token) = lexer.next_token()? {
        parser.take(token)?;
    }
    parser.finish(lexer.end())
}

/// Builds the tree with a stack of its own, so that nested groups do not use the thread's.
#[derive(Debug, Default)]
struct Parser {
    root: Group,
    groups: Vec<Group>,
    /// Position of the minus in front of the next term.
    minus: Option<usize>,
    /// An OR with a branch that does not select.
    weak_or: Option<Fault>,
}

/// A group that is not closed yet.
#[derive(Debug, Default)]
struct Group {
    position: usize,
    is_negated: bool,
    branches: Vec<(Expr, Selection)>,
    parts: Vec<(Expr, Selection)>,
}

impl Parser {
    fn take(&mut self, token: Token) -> Result<(), SyntaxError> {
        let Token { position, lexeme } = token;
        match lexeme {
            RuleLexeme::Minus => self.minus = Some(position),
            RuleLexeme::Term(operator) => {
                let selection = if operator.is_stop_word() { Selection::StopWords } else { Selection::Positive };
                let is_negated = self.minus.take().is_some();
                self.innermost().push(Expr::Is(operator), selection, is_negated);
            }
            RuleLexeme::Open => {
                let is_negated = self.minus.take().is_some();
                self.groups.push(Group { position, is_negated, ..Group::default() });
            }
            RuleLexeme::Or => {
                if let Some(minus) = self.minus {
                    return Err(SyntaxError::new(Fault::BareMinus, minus, "-"));
                }
                if self.innermost().parts.is_empty() {
                    return Err(SyntaxError::new(Fault::DanglingOr, position, "OR"));
                }
                self.innermost().end_branch();
            }
            RuleLexeme::Close => {
                let unopened = || SyntaxError::new(Fault::UnbalancedParen, position, ")");
                let group = self.groups.pop().ok_or_else(unopened)?;
                let is_negated = group.is_negated;
                let (expr, selection) = self.close(group, position, ")")?;
                self.innermost().push(expr, selection, is_negated);
            }
        }
        Ok(())
    }

    fn innermost(&mut self) -> &mut Group {
        self.groups.last_mut().unwrap_or(&mut self.root)
    }

    /// Ends a group before the input at this position.
    fn close(&mut self, mut group: Group, position: usize, input: &str) -> Result<(Expr, Selection), SyntaxError> {
        match (group.parts.is_empty(), group.branches.is_empty()) {
            (true, true) => return Err(SyntaxError::new(Fault::EmptyGroup, group.position, "()")),
            (true, false) => return Err(SyntaxError::new(Fault::DanglingOr, position, input)),
            _ => group.end_branch(),
        }
        if group.branches.len() > 1 {
            self.weak_or = self.weak_or.or_else(|| group.weakness());
        }
        let weakest = group.branches.iter().map(|(_, selection)| *selection).min();
        let expr = joined(group.branches, Expr::Any);
        Ok((expr, weakest.unwrap_or(Selection::Negative)))
    }

    fn finish(mut self, end: usize) -> Result<Expr, SyntaxError> {
        let innermost = self.innermost();
        if innermost.parts.is_empty() && !innermost.branches.is_empty() {
            return Err(SyntaxError::new(Fault::DanglingOr, end, "<EOF>"));
        }
        if let Some(group) = self.groups.last() {
            return Err(SyntaxError::new(Fault::UnbalancedParen, group.position, "("));
        }
        let root = std::mem::take(&mut self.root);
        let (expr, selection) = self.close(root, end, "<EOF>")?;
        let fault = match selection {
            Selection::Negative if self.weak_or.is_none() => Some(Fault::NegationOnly),
            Selection::StopWords if self.weak_or.is_none() => Some(Fault::StopwordsOnly),
            _ => self.weak_or,
        };
        fault.map_or(Ok(expr), |fault| Err(SyntaxError::new(fault, 1, "")))
    }
}

impl Group {
    fn push(&mut self, expr: Expr, selection: Selection, is_negated: bool) {
        self.parts.push(if is_negated { (Expr::Not(Box::new(expr)), Selection::Negative) } else { (expr, selection) });
    }

    fn end_branch(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        let strongest = parts.iter().map(|(_, selection)| *selection).max();
        self.branches.push((joined(parts, Expr::All), strongest.unwrap_or(Selection::Negative)));
    }

    /// What is wrong with an OR of these branches: each must select posts by itself.
    fn weakness(&self) -> Option<Fault> {
        let has = |wanted: Selection| self.branches.iter().any(|(_, selection)| *selection == wanted);
        match (has(Selection::Negative), has(Selection::StopWords), has(Selection::Positive)) {
            (true, false, false) => Some(Fault::NegationOnly),
            (true, _, _) => Some(Fault::NegatedOr),
            (false, true, _) => Some(Fault::StopwordsOnly),
            (false, false, _) => None,
        }
    }
}

/// One expression is itself, several are joined.
fn joined(exprs: Vec<(Expr, Selection)>, join: impl Fn(Vec<Expr>) -> Expr) -> Expr {
    let mut exprs: Vec<Expr> = exprs.into_iter().map(|(expr, _)| expr).collect();
    match (exprs.len(), exprs.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            exprs.extend(last);
            join(exprs)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::PostAttributes;
    use super::super::operator::{PostKind, from_keyword};
    use super::*;

    fn words_of(text: &str) -> Expr {
        Expr::Is(from_keyword(text))
    }

    fn check(rule: &str, expected: Expr) {
        assert_eq!(parse(rule).as_ref(), Ok(&expected), "{rule}");
    }

    #[test]
    fn and_binds_tighter_than_or() {
        check("cat", words_of("cat"));
        check("ab bc OR cd", Expr::Any(vec![Expr::All(vec![words_of("ab"), words_of("bc")]), words_of("cd")]));
        check("ab ((bc OR cd))", Expr::All(vec![words_of("ab"), Expr::Any(vec![words_of("bc"), words_of("cd")])]));
        let not_retweet = Expr::Not(Box::new(Expr::Is(RuleOperator::Is(PostKind::Retweet))));
        check("cat -is:retweet", Expr::All(vec![words_of("cat"), not_retweet]));
    }

    #[test]
    fn values_are_read_as_written() {
        check("FROM:Ada", Expr::Is(RuleOperator::From("ada".into())));
        check("contains:-2345.432", Expr::Is(RuleOperator::Contains("-2345.432".into())));
        check("contains:\"a \\\"b\\\"\"", Expr::Is(RuleOperator::Contains("a \"b\"".into())));
        check("url_contains:\"com/x\"", Expr::Is(RuleOperator::UrlContains("com/x".into())));
        check("@Ada", Expr::Is(RuleOperator::Mention("ada".into())));
        check("lang:zh-TW", Expr::Is(RuleOperator::Lang("zh-tw".into())));
    }

    fn check_text(rule: &str, text: &str) {
        let error = parse(rule).expect_err(rule).to_string();
        assert!(error.contains(text), "{rule}: {error}");
    }

    #[test]
    fn errors_have_texts_of_x() {
        check_text("aaaaa OR", "Cannot parse rule at '<EOF>' (position 9)");
        check_text("cat )", "missing EOF at ')' (at position 5)");
        check_text("fish AND bird", "Ambiguous use of and as a keyword. Use a space to logically join two clauses");
        check_text("cat or dog", "Ambiguous use of or as a keyword. Use OR");
        check_text("-cat", "Rules must contain a non-negation term (at position 1)\nRules must contain at least one");
        check_text("the", "Rules must contain at least one positive, non-stopword clause (at position 1)");
        check_text("h:m", "Reference to invalid operator 'h' (at position 1).");
        check_text("cat has:polls", "Reference to invalid operator 'has:polls'");
        check_text("cat contains:$twtr", "no viable alternative at input '$twtr' (at position 14)");
        check_text("'coca cola'", "no viable alternative at character ''' (at position 1)");
        check_text("from:contains:heart", "Cannot parse rule at ':heart' (position 14)");
    }

    #[test]
    fn deepest_rules_are_matched() {
        let depth = VALUE_UNITS_MAX / 3;
        let nested = format!("{}b{}", "k(".repeat(depth), ")".repeat(depth));
        let negated = format!("{}b{}", "k -(".repeat(408), ")".repeat(408));
        let post = PostAttributes::of(&serde_json::json!({"text": "k b"}));
        for rule in [nested, negated] {
            let expr = parse(&rule).expect("a valid rule");
            assert!(expr.clone().matches(&post), "{rule}");
        }
    }

    /// What a rule is made of, and what it is not.
    const PIECES: &str = "( ) \" - [ ] \\ : @ # $ ~2 OR or ' cat 猫 🍕 👩\u{200d}👧 \u{301} \u{200d} \u{0} from: lang:en has:media \
                          contains:-1.5 bounding_box:[1 point_radius:[ 2 3km] \u{a0} the é ~";

    #[test]
    fn longest_repetitions_do_not_panic() {
        for piece in PIECES.split(' ') {
            let rule: String = piece.chars().cycle().take(VALUE_UNITS_MAX).collect();
            drop(parse(&rule));
            drop(parse(&format!("cat {rule}")));
        }
    }

    proptest! {
        #[test]
        fn random_rules_do_not_panic(
            text in ".{0,200}",
            pieces in proptest::collection::vec((0..64_usize, any::<bool>()), 0..60),
        ) {
            drop(parse(&text));
            let known: Vec<&str> = PIECES.split(' ').collect();
            let rule: String = pieces.iter().map(|(n, space)| format!("{}{}", known[n % known.len()], if *space { " " } else { "" })).collect();
            if let Ok(expr) = parse(&rule) {
                let post = PostAttributes::of(&serde_json::json!({"text": rule}));
                expr.matches(&post);
            }
        }
    }
}
