use super::attributes::{PostAttributes, TextTokens};
use super::characters::is_border_blocking;
use super::operator::{Feature, Phrase, PostKind, RuleOperator};
use super::parser::Expr;

impl Expr {
    pub(super) fn matches(&self, post: &PostAttributes) -> bool {
        match self {
            Self::Any(branches) => branches.iter().any(|branch| branch.matches(post)),
            Self::All(parts) => parts.iter().all(|part| part.matches(post)),
            Self::Not(inner) => !inner.matches(post),
            Self::Is(term) => term.matches(post),
        }
    }
}

impl RuleOperator {
    fn matches(&self, post: &PostAttributes) -> bool {
        match self {
            Self::Words(words) => {
                words.iter().all(|word| post.words.contains(word))
                    && (words.len() == 1 || post.texts.iter().any(|text| has_in_row(&text.tokens, words)))
            }
            Self::Phrase(phrase) => post.texts.iter().any(|text| phrase.occurs_in(text)),
            Self::Mention(name) => post.mentions.contains(name),
            Self::From(name) => post.author.contains(name),
            Self::To(name) => post.reply_to.contains(name),
            Self::RetweetsOf(name) => post.retweet_of.contains(name),
            Self::RetweetsOfStatus(id) => post.retweeted_id.as_ref() == Some(id),
            Self::InReplyToStatus(id) => post.replied_id.as_ref() == Some(id),
            Self::Contains(text) => post.own.contains(text),
            Self::UrlContains(text) => post.urls.iter().any(|url| url.contains(text)),
            Self::Lang(code) => post.lang.as_ref() == Some(code),
            Self::Has(feature) => post.has(*feature),
            Self::Is(kind) => post.is(*kind),
            Self::Place(id, words) => {
                post.place_id.as_ref() == Some(id) || post.place_names.iter().any(|name| has_in_row(name, words))
            }
            Self::Bio(words) => has_in_row(&post.bio, words),
            Self::BioName(words) => has_in_row(&post.bio_name, words),
            Self::Within(area) => area.contains(&post.location),
        }
    }
}

impl PostAttributes {
    fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::Mentions => !self.mentions.is_empty(),
            Feature::Geo => self.geo,
            Feature::Links => self.links,
            Feature::Media => self.media,
            Feature::Lang => self.lang.as_deref().is_some_and(|lang| lang != "und"),
            Feature::Symbols => self.symbols,
            Feature::Images => self.images,
            Feature::Videos => self.videos,
        }
    }

    fn is(&self, kind: PostKind) -> bool {
        match kind {
            PostKind::Retweet => self.retweet,
            PostKind::Reply => self.reply,
        }
    }
}

impl Phrase {
    /// Literally, with no character of a word directly in front or behind.
    fn occurs_in(&self, text: &TextTokens) -> bool {
        let (text, phrase) = (text.normal.as_str(), self.text.as_str());
        let mut from = 0;
        while let Some(at) = text[from..].find(phrase).map(|at| from + at) {
            let before = text[..at].chars().next_back();
            let after = text[at + phrase.len()..].chars().next();
            let is_free = !before.is_some_and(is_border_blocking) && !after.is_some_and(is_border_blocking);
            if is_free && (self.sigil.is_none() || before != self.sigil) {
                return true;
            }
            from = at + text[at..].chars().next().map_or(1, char::len_utf8);
        }
        false
    }
}

fn has_in_row(text: &[String], words: &[String]) -> bool {
    text.windows(words.len()).any(|window| window == words)
}
