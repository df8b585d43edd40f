//! Terms in the form that is compared with posts.

use super::phrase::PhraseMatcher;
use super::{geo, proximity, sample};
use crate::query::facts::Facts;
use crate::query::operator::{CountField, Feature, PostKind, TextField};
use crate::query::settings::QuerySettings;
use crate::query::text::normal;
use crate::query::text::tokens::TokenText;
use crate::query::tree::{BoundingBox, PointRadius, RuleTerm, is_read_as_phrase};

/// A term. Texts are in normal form.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Keyword(TokenText),
    Emoji(TokenText),
    Phrase(PhraseMatcher),
    Proximity(TokenText, usize),
    Mention(String),
    Hashtag(String),
    Cashtag(String),
    /// A field that is compared as a whole, or by substring.
    Field(TextField, String),
    /// A field of which the tokens are compared, and the text as a whole.
    Words(TextField, TokenText),
    Has(Feature),
    Is(PostKind),
    Box(BoundingBox),
    Circle(PointRadius),
    Count(CountField, u64, Option<u64>),
    Sample(u8),
}

impl Condition {
    pub(super) fn new(term: &RuleTerm, settings: &QuerySettings) -> Self {
        let tokens = |text: &str| TokenText::new(normal::of(text), settings.cjk_tokens);
        match term {
            RuleTerm::Keyword(word) if is_read_as_phrase(word) => Self::Phrase(PhraseMatcher::new(word, settings)),
            RuleTerm::Keyword(word) => Self::Keyword(tokens(word)),
            RuleTerm::Emoji(emoji) => Self::Emoji(tokens(emoji)),
            RuleTerm::Phrase(text) => Self::Phrase(PhraseMatcher::new(text, settings)),
            RuleTerm::Proximity(text, distance) => Self::Proximity(tokens(text), usize::from(*distance)),
            RuleTerm::Mention(name) => Self::Mention(normal::of(name)),
            RuleTerm::Hashtag(tag) => Self::Hashtag(normal::of(tag)),
            RuleTerm::Cashtag(symbol) => Self::Cashtag(normal::of(symbol)),
            RuleTerm::Field(field, text) => match field {
                TextField::Place
                | TextField::Bio
                | TextField::BioName
                | TextField::BioLocation
                | TextField::Url
                | TextField::UrlTitle
                | TextField::UrlDescription => Self::Words(*field, tokens(text)),
                _ => Self::Field(*field, normal::of(text)),
            },
            RuleTerm::Has(feature) => Self::Has(*feature),
            RuleTerm::Is(kind) => Self::Is(*kind),
            RuleTerm::BoundingBox(area) => Self::Box(*area),
            RuleTerm::PointRadius(circle) => Self::Circle(*circle),
            RuleTerm::Count(field, least, most) => Self::Count(*field, *least, *most),
            RuleTerm::Sample(percent) => Self::Sample(*percent),
        }
    }

    pub(super) fn matches(&self, facts: &Facts) -> bool {
        match self {
            Self::Keyword(word) => all_texts(facts).any(|text| text.contains_row(word)),
            Self::Emoji(emoji) => post_texts(facts).any(|text| text.contains_row(emoji)),
            Self::Phrase(phrase) => all_texts(facts).any(|text| phrase.occurs_in(text)),
            Self::Proximity(words, distance) => {
                post_texts(facts).any(|text| proximity::occurs_in(text, words, *distance))
            }
            Self::Mention(name) => facts.mentions.iter().any(|user| user.is(name)),
            Self::Hashtag(tag) => facts.hashtags.contains(tag),
            Self::Cashtag(symbol) => facts.cashtags.contains(symbol),
            Self::Field(field, text) => field_matches(*field, text, facts),
            Self::Words(field, words) => words_match(*field, words, facts),
            Self::Has(feature) => facts.features.contains(feature),
            Self::Is(kind) => facts.kinds.contains(kind),
            Self::Box(area) => geo::is_in_box(facts, area),
            Self::Circle(circle) => geo::is_in_circle(facts, circle),
            Self::Count(field, least, most) => facts
                .counts
                .iter()
                .any(|(other, count)| other == field && count >= least && most.is_none_or(|most| *count <= most)),
            Self::Sample(percent) => facts.id.as_deref().is_some_and(|id| sample::contains(id, *percent)),
        }
    }
}

/// Texts of the post and of the quoted post.
fn post_texts(facts: &Facts) -> impl Iterator<Item = &TokenText> {
    std::iter::once(&facts.own_text).chain(&facts.quoted_text)
}

/// Texts of the post and of the quoted post, and their addresses.
fn all_texts(facts: &Facts) -> impl Iterator<Item = &TokenText> {
    post_texts(facts).chain(facts.urls.iter().flat_map(|url| url.texts()))
}

fn field_matches(field: TextField, text: &str, facts: &Facts) -> bool {
    match field {
        TextField::From => facts.author.is(text),
        TextField::To => facts.reply_to.is(text),
        TextField::RetweetsOf => facts.retweet_of.is(text),
        TextField::RetweetsOfStatusId => facts.retweeted_id.as_deref() == Some(text),
        TextField::InReplyToStatusId => facts.reply_to_id.as_deref() == Some(text),
        TextField::Contains => facts.own_text.text().contains(text),
        TextField::UrlContains => facts.urls.iter().any(|url| {
            url.short.as_deref().is_some_and(|short| short.contains(text))
                || url.texts().any(|form| form.text().contains(text))
        }),
        TextField::Lang => facts.lang.as_deref() == Some(text),
        TextField::PlaceCountry => {
            facts.place.as_ref().is_some_and(|place| place.country_code.as_deref() == Some(text))
        }
        TextField::Source => facts.source.iter().any(|source| source == text),
        _ => false,
    }
}

fn words_match(field: TextField, words: &TokenText, facts: &Facts) -> bool {
    let urls = &facts.urls;
    match field {
        TextField::Place => facts.place.as_ref().is_some_and(|place| {
            place.id.as_deref() == Some(words.text()) || place.names.iter().any(|name| name.contains_row(words))
        }),
        TextField::Bio => facts.bio.contains_row(words),
        TextField::BioName => facts.bio_name.contains_row(words),
        TextField::BioLocation => facts.bio_location.contains_row(words),
        TextField::Url => urls.iter().any(|url| url.targets().any(|form| form.contains_row(words))),
        TextField::UrlTitle => urls.iter().filter_map(|url| url.title.as_ref()).any(|text| text.contains_row(words)),
        TextField::UrlDescription => {
            urls.iter().filter_map(|url| url.description.as_ref()).any(|text| text.contains_row(words))
        }
        _ => false,
    }
}
