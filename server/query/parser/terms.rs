//! Reads terms: words, phrases, mentions, operators.

use super::geo;
use super::piece::{Lexeme, Piece, Quoted, RawOperator, RawValue};
use super::values::{self, Value};
use crate::query::finding::{Code, Draft, Span, quote_text};
use crate::query::operator::{Feature, Operator, PostKind, find, unknown};
use crate::query::settings::{CjkTokens, Dialect, QuerySettings};
use crate::query::text::chars;
use crate::query::tree::{NodeKind, RuleTerm, is_read_as_phrase};

/// Reads pieces that are terms, and reports what is wrong with them.
pub(super) struct TermReader<'a> {
    pub(super) text: &'a str,
    pub(super) settings: &'a QuerySettings,
    pub(super) found: &'a mut Vec<Draft>,
}

/// Largest distance of `~`.
const PROXIMITY_MAX: u8 = 6;

impl TermReader<'_> {
    pub(super) fn read(&mut self, piece: &Piece<'_>) -> NodeKind {
        let span = piece.span.clone();
        let term = match &piece.lexeme {
            Lexeme::Word => self.word(span),
            Lexeme::Emoji => self.emoji(span),
            Lexeme::Mention => self.mention(span),
            Lexeme::Hashtag | Lexeme::Cashtag => self.tag(span),
            Lexeme::Phrase(quoted) => self.phrase(quoted),
            Lexeme::Operator(raw) => self.operator(raw),
            _ => None,
        };
        term.map_or(NodeKind::Invalid, NodeKind::Term)
    }

    fn report(&mut self, draft: Draft) {
        self.found.push(draft);
    }

    fn word(&mut self, span: Span) -> Option<RuleTerm> {
        let word = &self.text[span.clone()];
        if word == "NOT" {
            let (message, advice) = ("NOT is a word here", "put a minus sign directly before the term: -word");
            self.report(Draft::new(Code::NotKeyword, span.clone(), message, advice));
        } else if is_read_as_phrase(word) {
            let message = format!("{word} has punctuation and is read as a phrase");
            let advice = format!("write {}, or the words with spaces between them", quote_text(word));
            self.report(Draft::new(Code::KeywordPunctuation, span.clone(), message, advice).quote(span, word));
        } else if !word.is_ascii() && word.contains(chars::is_spaceless) && self.is_run(word) {
            let message = format!("{word} matches only where no letter is before or after it");
            let text = format!("contains:{}", quote_text(word));
            let draft =
                Draft::new(Code::CjkKeyword, span.clone(), message, format!("write {text} to find it anywhere"));
            self.report(draft.replace(span, text));
        }
        Some(RuleTerm::Keyword(word.to_owned()))
    }

    /// True if a run of letters without spaces is one token, at X or by these settings.
    fn is_run(&self, word: &str) -> bool {
        let splits = self.settings.dialect == Dialect::Gateway && self.settings.cjk_tokens == CjkTokens::Single;
        !splits || word.contains(|c| chars::is_spaceless(c) && !chars::is_cjk(c))
    }

    fn emoji(&mut self, span: Span) -> Option<RuleTerm> {
        let emoji = &self.text[span.clone()];
        if !self.settings.accepts(false) {
            let message = format!("{emoji} without quotes is not in X's list for Powerstream");
            let draft = Draft::new(Code::Emoji, span.clone(), message, format!("write {}", quote_text(emoji)));
            self.report(draft.replace(span, quote_text(emoji)));
        }
        Some(RuleTerm::Emoji(emoji.to_owned()))
    }

    fn mention(&mut self, span: Span) -> Option<RuleTerm> {
        let name = span.start + 1..span.end;
        let value = Value::bare(self.text, name);
        let name = values::user(&value, self.found)?;
        Some(RuleTerm::Mention(name))
    }

    fn tag(&mut self, span: Span) -> Option<RuleTerm> {
        let written = &self.text[span.clone()];
        let tag = &written[1..];
        let is_hashtag = written.starts_with('#');
        if !self.settings.accepts(false) {
            let kind = if is_hashtag { "hashtags" } else { "cashtags" };
            let message = format!("X does not list {kind} for Powerstream");
            let advice = format!("contains:{} finds it as a part of the text", quote_text(written));
            self.report(Draft::new(Code::OperatorUnavailable, span, message, advice));
            return None;
        }
        let is_part = |c: char| chars::is_token(c) || c == '_' || (!is_hashtag && c == '.');
        if let Some((at, wrong)) = tag.char_indices().find(|(_, c)| !is_part(*c)) {
            let start = span.start + 1 + at;
            let message = format!("{wrong} is not part of {written}");
            let advice = "end the tag before it, with a space";
            self.report(Draft::new(Code::BadValue, start..start + wrong.len_utf8(), message, advice));
            return None;
        }
        Some(if is_hashtag { RuleTerm::Hashtag(tag.to_owned()) } else { RuleTerm::Cashtag(tag.to_owned()) })
    }

    fn phrase(&mut self, quoted: &Quoted<'_>) -> Option<RuleTerm> {
        if !quoted.is_sound {
            return None;
        }
        if quoted.text.trim_matches(chars::is_space).is_empty() {
            let (message, advice) = ("the phrase is empty", "put words between the quotes, or remove them");
            self.report(Draft::new(Code::EmptyPhrase, quoted.span.clone(), message, advice));
            return None;
        }
        let Some(tilde) = quoted.proximity.clone() else {
            return Some(RuleTerm::Phrase(quoted.text.as_ref().to_owned()));
        };
        if !self.settings.accepts(false) {
            let span = quoted.span.start..tilde.end;
            let message = "X does not list ~ (words near each other) for Powerstream";
            let advice = "write the words without quotes to find them in any order";
            self.report(Draft::new(Code::OperatorUnavailable, span, message, advice));
            return None;
        }
        let distance = self.text[tilde.start + 1..tilde.end].parse().ok();
        let distance = distance.filter(|distance| (1..=PROXIMITY_MAX).contains(distance));
        if distance.is_none() {
            let message = format!("{} is no distance", &self.text[tilde.clone()]);
            self.report(Draft::new(Code::BadValue, tilde, message, format!("write ~1 to ~{PROXIMITY_MAX}")));
        }
        Some(RuleTerm::Proximity(quoted.text.as_ref().to_owned(), distance?))
    }

    fn operator(&mut self, raw: &RawOperator<'_>) -> Option<RuleTerm> {
        let name = self.text[raw.name.clone()].to_ascii_lowercase();
        let second = || unknown::alias(&name).filter(|_| self.settings.accepts(false));
        let Some(operator) = find(&name).or_else(second) else {
            self.unknown_operator(raw, &name);
            return None;
        };
        if !self.settings.accepts(operator.is_listed()) {
            let advice = unknown::nearest(operator.as_str()).unwrap_or("leave it out");
            self.unavailable(raw.name.start..raw.colon + 1, advice);
            return None;
        }
        let value = match &raw.value {
            RawValue::Missing(next) => {
                self.missing_value(raw, next.clone());
                return None;
            }
            RawValue::Group => {
                self.group_value(raw, &name);
                return None;
            }
            RawValue::List(span, is_closed) => return self.geo(operator, span.clone(), *is_closed),
            RawValue::Quoted(quoted) if !quoted.is_sound => return None,
            RawValue::Quoted(quoted) if quoted.text.trim_matches(chars::is_space).is_empty() => {
                let (message, advice) = ("the value is empty", "put a value between the quotes");
                self.report(Draft::new(Code::EmptyPhrase, quoted.span.clone(), message, advice));
                return None;
            }
            RawValue::Quoted(quoted) => {
                if let Some(tilde) = quoted.proximity.clone() {
                    let message = "~ belongs to a phrase without an operator";
                    self.report(Draft::new(Code::BadValue, tilde, message, "leave it out"));
                    return None;
                }
                Value::quoted(quoted)
            }
            RawValue::Bare(span) => Value::bare(self.text, span.clone()),
        };
        self.value(operator, raw, &value)
    }

    fn value(&mut self, operator: Operator, raw: &RawOperator<'_>, value: &Value) -> Option<RuleTerm> {
        match operator {
            Operator::Has => self.feature(raw, value),
            Operator::Is => self.kind(raw, value),
            Operator::BoundingBox | Operator::PointRadius => self.geo(operator, value.span.clone(), false),
            Operator::Text(field) => values::text(field, value, self.found).map(|text| RuleTerm::Field(field, text)),
            Operator::Count(field) => {
                values::count(value, self.found).map(|(least, most)| RuleTerm::Count(field, least, most))
            }
            Operator::Sample => values::sample(value, self.found).map(RuleTerm::Sample),
        }
    }

    fn geo(&mut self, operator: Operator, span: Span, is_closed: bool) -> Option<RuleTerm> {
        let list = geo::List { text: self.text, span, is_closed };
        match operator {
            Operator::PointRadius => geo::point_radius(&list, self.found).map(RuleTerm::PointRadius),
            _ => geo::bounding_box(&list, self.found).map(RuleTerm::BoundingBox),
        }
    }

    fn feature(&mut self, raw: &RawOperator<'_>, value: &Value) -> Option<RuleTerm> {
        let name = value.text.to_ascii_lowercase();
        let second = || unknown::feature_alias(&name).filter(|_| self.settings.accepts(false));
        let Some(feature) = Feature::named(&name).or_else(second) else {
            let all = Feature::ALL.iter().filter(|feature| self.settings.accepts(feature.is_listed()));
            let all: Vec<_> = all.map(|feature| feature.as_str()).collect();
            let likely = unknown::likely_feature(&name).into_iter().filter(|name| all.contains(name)).collect();
            self.bad_value(raw, value, &all, likely);
            return None;
        };
        if !self.settings.accepts(feature.is_listed()) {
            self.unavailable(raw.name.start..value.span.end, "leave it out, or filter by it after delivery");
            return None;
        }
        Some(RuleTerm::Has(feature))
    }

    fn kind(&mut self, raw: &RawOperator<'_>, value: &Value) -> Option<RuleTerm> {
        let name = value.text.to_ascii_lowercase();
        let Some(kind) = PostKind::named(&name) else {
            let all = PostKind::ALL.iter().filter(|kind| self.settings.accepts(kind.is_listed()));
            let all: Vec<_> = all.map(|kind| kind.as_str()).collect();
            let likely = unknown::likely_kind(&name).into_iter().filter(|name| all.contains(name)).collect();
            self.bad_value(raw, value, &all, likely);
            return None;
        };
        if !self.settings.accepts(kind.is_listed()) {
            self.unavailable(raw.name.start..value.span.end, "leave it out, or filter by it after delivery");
            return None;
        }
        Some(RuleTerm::Is(kind))
    }

    fn bad_value(&mut self, raw: &RawOperator<'_>, value: &Value, all: &[&str], likely: Vec<&str>) {
        let name = self.text[raw.name.clone()].to_ascii_lowercase();
        let all = all.iter().map(|value| format!("{name}:{value}")).collect::<Vec<_>>().join(", ");
        let message = format!("there is no {name}:{}", value.text);
        let span = raw.name.start..value.span.end;
        self.report(match likely[..] {
            [only] => Draft::new(Code::BadValue, span, message, format!("did you mean {name}:{only}?"))
                .replace(value.span.clone(), only),
            _ => Draft::new(Code::BadValue, span, message, format!("write one of {all}")),
        });
    }

    fn unavailable(&mut self, span: Span, advice: &str) {
        let message = format!("X does not list {} for Powerstream", self.text[span.clone()].to_ascii_lowercase());
        self.report(Draft::new(Code::OperatorUnavailable, span, message, advice));
    }

    fn unknown_operator(&mut self, raw: &RawOperator<'_>, name: &str) {
        let message = format!("there is no operator {name}:");
        let span = raw.name.clone();
        let likely = unknown::likely(name, |operator| self.settings.accepts(operator.is_listed()));
        let draft = |advice: String| Draft::new(Code::UnknownOperator, span.clone(), message, advice);
        let whole = match &raw.value {
            RawValue::Bare(value) => Some(raw.name.start..value.end),
            _ => None,
        };
        self.report(match (&likely[..], unknown::elsewhere(name), whole) {
            ([only], _, _) => draft(format!("did you mean {only}:?")).replace(span.clone(), *only),
            (_, Some(advice), _) => draft(advice.to_owned()),
            ([_, ..], _, _) => draft(format!("did you mean {}:?", likely.join(": or "))),
            (_, _, Some(whole)) if !name.contains(|c: char| c.is_alphabetic()) => {
                let text = quote_text(&self.text[whole.clone()]);
                draft(format!("write {text} to find the text")).replace(whole, text)
            }
            _ => draft("put it into quotes to find the text; docs/rule-language.md lists the operators".to_owned()),
        });
    }

    /// Reports brackets after a colon. The operator is repeated for each word of a plain OR.
    fn group_value(&mut self, raw: &RawOperator<'_>, name: &str) {
        let message = format!("{name}: takes one value");
        let advice = format!("repeat the operator for each: ({name}:a OR {name}:b)");
        let draft = Draft::new(Code::MissingValue, raw.colon..raw.colon + 1, message, advice);
        let rest = self.text[raw.colon + 1..].strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let inner = rest.map(|(inner, _)| inner).filter(|inner| !inner.contains(['(', '"', ':']));
        let value = |word: &str| {
            let word = word.trim_matches(chars::is_space);
            let is_word = !word.is_empty() && !word.contains(chars::is_space);
            is_word.then(|| format!("{name}:{word}"))
        };
        let values = inner.and_then(|inner| inner.split(" OR ").map(value).collect::<Option<Vec<_>>>());
        self.report(match (inner, values) {
            (Some(inner), Some(values)) => {
                let end = raw.colon + 1 + "(".len() + inner.len() + ")".len();
                draft.replace(raw.name.start..end, format!("({})", values.join(" OR ")))
            }
            _ => draft,
        });
    }

    fn missing_value(&mut self, raw: &RawOperator<'_>, next: Option<Span>) {
        let name = &self.text[raw.name.clone()];
        let message = format!("{name}: has no value");
        let colon = raw.colon..raw.colon + 1;
        self.report(match next {
            Some(next) => Draft::new(Code::MissingValue, colon, message, "write no space after the colon")
                .replace(raw.colon + 1..next.start, ""),
            None => Draft::new(Code::MissingValue, colon, message, "write the value directly after the colon"),
        });
    }
}
