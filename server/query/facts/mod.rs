//! What rules read of a post.
//!
//! Owns: the fields of a payload (`payload`), and from which of them each kind of term reads (`Facts`): own text, quoted
//! text, addresses, entities, users, place. Does not own: the comparison with a term (`matching`).
//!
//! Invariants: texts are in normal form; a retweet has no place; a payload is read once for all rules.

mod media;
mod payload;
mod read;

use crate::query::operator::{CountField, Feature, PostKind};
use crate::query::text::tokens::TokenText;

pub use read::UnreadablePost;

/// What rules read of one post. Texts are in normal form.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Post id.
    pub id: Option<String>,
    /// Text of the post; of a retweet, `RT @name: ` and the retweeted text.
    pub own_text: TokenText,
    /// Text of the quoted post.
    pub quoted_text: Option<TokenText>,
    /// Addresses of the post and of the quoted post.
    pub urls: Vec<Url>,
    /// Mentioned users.
    pub mentions: Vec<User>,
    /// Hashtags without `#`.
    pub hashtags: Vec<String>,
    /// Cashtags without `$`.
    pub cashtags: Vec<String>,
    /// Author.
    pub author: User,
    /// User that is replied to.
    pub reply_to: User,
    /// Post that is replied to.
    pub reply_to_id: Option<String>,
    /// Author of the retweeted post.
    pub retweet_of: User,
    /// Retweeted post.
    pub retweeted_id: Option<String>,
    /// Language.
    pub lang: Option<String>,
    /// What the post has.
    pub features: Vec<Feature>,
    /// What the post is.
    pub kinds: Vec<PostKind>,
    /// Place of the post; none for retweets.
    pub place: Option<Place>,
    /// Longitude and latitude of the post; none for retweets.
    pub point: Option<(f64, f64)>,
    /// Description of the author.
    pub bio: TokenText,
    /// Display name of the author.
    pub bio_name: TokenText,
    /// Location of the author as written.
    pub bio_location: TokenText,
    /// Numbers of the author.
    pub counts: Vec<(CountField, u64)>,
    /// Name and address of the client that the post was written with.
    pub source: Vec<String>,
}

/// A user by name and id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Name in lower case.
    pub name: Option<String>,
    /// Id in digits.
    pub id: Option<String>,
}

impl User {
    /// True if a name in lower case or an id is that of the user.
    pub fn is(&self, name_or_id: &str) -> bool {
        self.name.as_deref() == Some(name_or_id) || self.id.as_deref() == Some(name_or_id)
    }
}

/// An address in its forms.
#[derive(Clone, Debug, Default)]
pub struct Url {
    /// As in the text (t.co).
    pub short: Option<String>,
    /// As written by the author.
    pub expanded: Option<TokenText>,
    /// As displayed.
    pub display: Option<TokenText>,
    /// After all redirects.
    pub unwound: Option<TokenText>,
    /// Title of the page.
    pub title: Option<TokenText>,
    /// Description of the page.
    pub description: Option<TokenText>,
}

impl Url {
    /// Forms that words and phrases are found in.
    pub fn texts(&self) -> impl Iterator<Item = &TokenText> {
        [&self.expanded, &self.display, &self.unwound].into_iter().flatten()
    }

    /// Forms that `url:` reads.
    pub fn targets(&self) -> impl Iterator<Item = &TokenText> {
        [&self.expanded, &self.unwound].into_iter().flatten()
    }
}

/// A place.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Id of the place.
    pub id: Option<String>,
    /// Names of the place and of its country.
    pub names: Vec<TokenText>,
    /// Country code.
    pub country_code: Option<String>,
    /// Corners (longitude, latitude).
    pub corners: Vec<(f64, f64)>,
}
