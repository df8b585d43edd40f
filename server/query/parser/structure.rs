//! Structure of a rule: groups, OR, AND, negation.

use super::lexer;
use super::piece::{Lexeme, Piece};
use super::terms::TermReader;
use crate::query::finding::{Code, Draft, Span};
use crate::query::settings::QuerySettings;
use crate::query::text::chars;
use crate::query::tree::{Node, NodeKind};

/// Maximum number of nested brackets. A rule within X's length has fewer that change its meaning; brackets below that
/// are ignored in rules that are too long anyway.
pub const NESTING_MAX: usize = 1_024;

/// Reads a rule. Appends findings; returns `None` if no term was found.
pub fn parse(text: &str, settings: &QuerySettings, found: &mut Vec<Draft>) -> Option<Node> {
    let pieces = lexer::split(text, found);
    let mut structure = Structure {
        text,
        frames: vec![OpenGroup::default()],
        ignored: 0,
        negation: None,
        terms: TermReader { text, settings, found },
    };
    for (at, piece) in pieces.iter().enumerate() {
        structure.add(piece, &pieces, at);
    }
    structure.finish()
}

/// A group that is being read. The first one is the rule itself.
#[derive(Default)]
struct OpenGroup {
    /// Place of the bracket.
    open: Option<Span>,
    /// Place of the minus sign before it.
    negation: Option<Span>,
    /// Complete sides of an OR.
    sides: Vec<Node>,
    /// Terms of the side that is being read.
    terms: Vec<Node>,
    /// Place of the last OR, if no term has followed it.
    or: Option<Span>,
    /// True after a missing term was reported.
    has_dangling: bool,
}

struct Structure<'a> {
    text: &'a str,
    frames: Vec<OpenGroup>,
    /// Number of open brackets beyond the maximum.
    ignored: usize,
    /// Minus sign before the next term.
    negation: Option<Span>,
    terms: TermReader<'a>,
}

impl Structure<'_> {
    fn report(&mut self, draft: Draft) {
        self.terms.found.push(draft);
    }

    fn top(&mut self) -> &mut OpenGroup {
        if self.frames.is_empty() {
            self.frames.push(OpenGroup::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn add(&mut self, piece: &Piece<'_>, pieces: &[Piece<'_>], at: usize) {
        match &piece.lexeme {
            Lexeme::Minus => return self.negation = Some(piece.span.clone()),
            Lexeme::Open if self.frames.len() > NESTING_MAX => self.ignored += 1,
            Lexeme::Open => {
                let negation = self.negation.take();
                self.frames.push(OpenGroup { open: Some(piece.span.clone()), negation, ..OpenGroup::default() });
            }
            Lexeme::Close if self.ignored > 0 => self.ignored -= 1,
            Lexeme::Close => self.close(piece),
            Lexeme::Or => self.or(piece),
            Lexeme::LowerOr => self.lower_or(piece),
            Lexeme::And => self.and(piece, pieces, at),
            Lexeme::BareMinus => self.bare_minus(piece, pieces.get(at + 1)),
            _ => {
                let kind = self.terms.read(piece);
                self.push(Node { span: piece.span.clone(), kind });
            }
        }
        if let Some(minus) = self.negation.take() {
            // A minus sign directly before OR, AND or another piece that is no term.
            self.report(Draft::new(Code::BareMinus, minus, "this minus sign negates nothing", "put a term after it"));
        }
    }

    /// Adds a term or group to the side that is being read, negated if a minus sign precedes it.
    fn push(&mut self, node: Node) {
        let node = match self.negation.take() {
            Some(minus) => negated(minus, node),
            None => node,
        };
        let frame = self.top();
        frame.or = None;
        frame.terms.push(node);
    }

    fn or(&mut self, piece: &Piece<'_>) {
        let frame = self.top();
        if frame.terms.is_empty() {
            let before = frame.or.replace(piece.span.clone());
            frame.has_dangling = true;
            let (message, advice) = ("a term is missing before this OR", "add a term, or remove OR");
            let mut draft = Draft::new(Code::DanglingOr, piece.span.clone(), message, advice);
            if let Some(before) = before {
                draft = draft.replace(before.start..piece.span.start, "");
            }
            self.report(draft);
            return;
        }
        let side = joined(std::mem::take(&mut frame.terms), NodeKind::And);
        frame.sides.extend(side);
        frame.or = Some(piece.span.clone());
    }

    fn lower_or(&mut self, piece: &Piece<'_>) {
        let word = &self.text[piece.span.clone()];
        let message = format!("{word} is neither the operator OR nor a word in quotes");
        let draft = Draft::new(
            Code::OrLowercase,
            piece.span.clone(),
            message,
            format!("write OR, or \"{word}\" to find the word"),
        );
        self.report(draft.replace(piece.span.clone(), "OR"));
        // It is an OR for what follows, unless a term is missing: that is not reported twice.
        let frame = self.top();
        if !frame.terms.is_empty() {
            let side = joined(std::mem::take(&mut frame.terms), NodeKind::And);
            frame.sides.extend(side);
            frame.has_dangling = true;
        }
    }

    fn and(&mut self, piece: &Piece<'_>, pieces: &[Piece<'_>], at: usize) {
        let word = &self.text[piece.span.clone()];
        let neighbour = |piece: Option<&Piece<'_>>| {
            piece.is_some_and(|piece| matches!(piece.lexeme, Lexeme::Operator(_) | Lexeme::Open | Lexeme::Close))
        };
        let before = at.checked_sub(1).and_then(|before| pieces.get(before));
        let after = pieces.get(at + 1);
        let is_operator = word == "AND" || neighbour(before) || neighbour(after);
        let mut draft = if word == "AND" {
            Draft::new(Code::AndKeyword, piece.span.clone(), "AND is a word here", "a space already means AND")
        } else {
            let message = format!("{word} is ambiguous: operator or word");
            let advice = format!("leave it out, as a space already means AND, or write \"{word}\" to find the word");
            Draft::new(Code::AndKeyword, piece.span.clone(), message, advice)
        };
        if let (true, Some(before), Some(after)) = (is_operator, before, after) {
            let space =
                if before.span.end == piece.span.start || after.span.start == piece.span.end { " " } else { "" };
            draft = draft.replace(piece.span.start..after.span.start, space);
        }
        self.report(draft);
    }

    fn bare_minus(&mut self, piece: &Piece<'_>, after: Option<&Piece<'_>>) {
        let advice = "put it directly before the term that it negates, or the text into quotes";
        let mut draft = Draft::new(Code::BareMinus, piece.span.clone(), "this minus sign negates nothing", advice);
        if let Some(Piece { span, lexeme: Lexeme::Operator(_) | Lexeme::Open }) = after {
            draft = draft.replace(piece.span.start..span.start, "-");
        }
        self.report(draft);
    }

    fn close(&mut self, piece: &Piece<'_>) {
        if self.frames.len() == 1 {
            let (message, advice) =
                ("no bracket is open here", "remove it, or add ( before the first term of the group");
            self.report(Draft::new(Code::UnbalancedParen, piece.span.clone(), message, advice));
            return;
        }
        self.end_group(piece.span.clone());
    }

    /// Ends the innermost group at a place.
    fn end_group(&mut self, close: Span) {
        let Some(frame) = self.frames.pop() else { return };
        let start = frame.open.clone().unwrap_or(0..0).start;
        let span = start..close.end;
        let negation = frame.negation.clone();
        let content = self.content(frame, close.start);
        let Some(mut node) = content else {
            // The end of the rule is no bracket: the open one is reported.
            if !close.is_empty() {
                let (message, advice) = ("the group is empty", "put terms into the brackets, or remove them");
                self.report(Draft::new(Code::EmptyGroup, span.clone(), message, advice));
            }
            let node = Node { span, kind: NodeKind::Invalid };
            return self.push(node);
        };
        if let Some(minus) = &negation {
            self.negated_group(minus.start..close.end, &node);
        }
        if matches!(node.kind, NodeKind::Or(_) | NodeKind::And(_)) {
            node.span = span;
        }
        self.negation = negation;
        self.push(node);
    }

    /// Returns what a group contains. A missing term after OR is reported at `end`.
    fn content(&mut self, mut frame: OpenGroup, end: usize) -> Option<Node> {
        if frame.or.is_some() && frame.terms.is_empty() && !(frame.sides.is_empty() && frame.has_dangling) {
            let length = self.text[end..].chars().next().map_or(0, char::len_utf8);
            let (message, advice) = ("a term is missing after OR", "add a term, or remove OR");
            self.report(Draft::new(Code::DanglingOr, end..end + length, message, advice));
        }
        frame.sides.extend(joined(frame.terms, NodeKind::And));
        joined(frame.sides, NodeKind::Or)
    }

    fn negated_group(&mut self, span: Span, node: &Node) {
        let text = self.text;
        let part = |node: &Node| match &node.kind {
            NodeKind::Term(_) => Some(format!("-{}", &text[node.span.clone()])),
            NodeKind::Not(child) if matches!(child.kind, NodeKind::Term(_)) => {
                Some(text[child.span.clone()].to_owned())
            }
            _ => None,
        };
        let parts: Option<Vec<String>> = match &node.kind {
            NodeKind::Or(sides) => sides.iter().map(part).collect(),
            _ => part(node).map(|part| vec![part]),
        };
        let advice = match &node.kind {
            NodeKind::Or(_) => "negate each term: -a -b",
            _ => "X advises against negated groups: use two rules, or negate single terms",
        };
        let draft = Draft::new(Code::NegatedGroup, span.clone(), "a group is negated", advice);
        self.report(match parts {
            Some(parts) => {
                let after = text[span.end..].chars().next();
                let is_joined = after.is_some_and(|c| !chars::is_space(c) && c != ')');
                draft.replace(span, parts.join(" ") + if is_joined { " " } else { "" })
            }
            None => draft,
        });
    }

    fn finish(mut self) -> Option<Node> {
        let end = self.text.len();
        let open = self.frames.len() - 1 + self.ignored;
        if let Some(frame) = self.frames.last()
            && let Some(span) = frame.open.clone()
        {
            let message = match open {
                1 => "this bracket is not closed".to_owned(),
                _ => format!("this bracket is not closed, and {} before it", open - 1),
            };
            let draft = Draft::new(Code::UnbalancedParen, span, message, "add ) after the last term of the group");
            // Where the bracket is closed makes no difference without OR.
            let is_sure = open == 1 && frame.sides.is_empty() && frame.negation.is_none() && !frame.terms.is_empty();
            let length = self.text.trim_end_matches(chars::is_space).len();
            self.report(if is_sure { draft.replace(length..length, ")") } else { draft });
        }
        while self.frames.len() > 1 {
            self.end_group(end..end);
        }
        let frame = self.frames.pop()?;
        self.content(frame, end)
    }
}

fn negated(minus: Span, node: Node) -> Node {
    let span = minus.start..node.span.end;
    match node.kind {
        NodeKind::Invalid => Node { span, kind: NodeKind::Invalid },
        _ => Node { span, kind: NodeKind::Not(Box::new(node)) },
    }
}

/// Returns nothing for no node, the node itself for one, and a node with all of them otherwise.
fn joined(mut nodes: Vec<Node>, kind: fn(Vec<Node>) -> NodeKind) -> Option<Node> {
    if nodes.len() < 2 {
        return nodes.pop();
    }
    let span = nodes[0].span.start..nodes[nodes.len() - 1].span.end;
    Some(Node { span, kind: kind(nodes) })
}
