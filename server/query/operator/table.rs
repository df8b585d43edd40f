//! The operators with a colon.

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal $listed:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name in a rule.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// True if X lists it for Powerstream.
            pub fn is_listed(self) -> bool {
                match self {
                    $(Self::$variant => $listed,)*
                }
            }

            /// Returns the value with a name in lower case.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }
        }
    };
}

names! {
    /// An operator with a text.
    TextField {
        /// Author of the post: name or id.
        From = "from" true,
        /// User that the post replies to: name or id.
        To = "to" true,
        /// Author of the retweeted post: name or id.
        RetweetsOf = "retweets_of" true,
        /// Id of the retweeted post.
        RetweetsOfStatusId = "retweets_of_status_id" true,
        /// Id of the post that is replied to.
        InReplyToStatusId = "in_reply_to_status_id" true,
        /// Substring of the text.
        Contains = "contains" true,
        /// Substring of a URL.
        UrlContains = "url_contains" true,
        /// Language of the post.
        Lang = "lang" true,
        /// Id or name of the place.
        Place = "place" true,
        /// Tokens of the author's description.
        Bio = "bio" true,
        /// Tokens of the author's display name.
        BioName = "bio_name" true,
        /// Tokens of a URL.
        Url = "url" false,
        /// Tokens of the title behind a URL.
        UrlTitle = "url_title" false,
        /// Tokens of the description behind a URL.
        UrlDescription = "url_description" false,
        /// Country code of the place.
        PlaceCountry = "place_country" false,
        /// Tokens of the author's location.
        BioLocation = "bio_location" false,
        /// Name or address of the client that the post was written with.
        Source = "source" false,
    }
}

names! {
    /// What a post has.
    Feature {
        /// Mentions.
        Mentions = "mentions" true,
        /// URLs, media or a quoted post.
        Links = "links" true,
        /// Media.
        Media = "media" true,
        /// Photos.
        Images = "images" true,
        /// Videos.
        Videos = "videos" true,
        /// Cashtags.
        Symbols = "symbols" true,
        /// A place or coordinates.
        Geo = "geo" true,
        /// A language that X recognised.
        Lang = "lang" true,
        /// Hashtags.
        Hashtags = "hashtags" false,
    }
}

names! {
    /// What a post is.
    PostKind {
        /// A retweet.
        Retweet = "retweet" true,
        /// A reply.
        Reply = "reply" true,
        /// A quote.
        Quote = "quote" false,
        /// Written by a verified author.
        Verified = "verified" false,
    }
}

names! {
    /// A number of the author.
    CountField {
        /// Followers.
        Followers = "followers_count" false,
        /// Followed users.
        Friends = "friends_count" false,
        /// Posts.
        Statuses = "statuses_count" false,
        /// Lists with the author.
        Listed = "listed_count" false,
    }
}

/// An operator with a colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// With a text.
    Text(TextField),
    /// `has:`.
    Has,
    /// `is:`.
    Is,
    /// `bounding_box:`.
    BoundingBox,
    /// `point_radius:`.
    PointRadius,
    /// With a number.
    Count(CountField),
    /// `sample:`.
    Sample,
}

/// Form of an operator's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A user name or a user id.
    User,
    /// A post id.
    PostId,
    /// Any text; quotes are needed for punctuation.
    Substring,
    /// Words; quotes are needed for several.
    Words,
    /// A language code.
    Lang,
    /// A country code.
    Country,
}

impl TextField {
    /// Returns the form of the value.
    pub fn argument(self) -> Argument {
        match self {
            Self::From | Self::To | Self::RetweetsOf => Argument::User,
            Self::RetweetsOfStatusId | Self::InReplyToStatusId => Argument::PostId,
            Self::Contains | Self::UrlContains => Argument::Substring,
            Self::Lang => Argument::Lang,
            Self::PlaceCountry => Argument::Country,
            Self::Place
            | Self::Bio
            | Self::BioName
            | Self::Url
            | Self::UrlTitle
            | Self::UrlDescription
            | Self::BioLocation
            | Self::Source => Argument::Words,
        }
    }
}

impl Operator {
    /// Returns the name in a rule.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text(field) => field.as_str(),
            Self::Has => "has",
            Self::Is => "is",
            Self::BoundingBox => "bounding_box",
            Self::PointRadius => "point_radius",
            Self::Count(field) => field.as_str(),
            Self::Sample => "sample",
        }
    }

    /// True if X lists the operator for Powerstream.
    pub fn is_listed(self) -> bool {
        match self {
            Self::Text(field) => field.is_listed(),
            Self::Has | Self::Is | Self::BoundingBox | Self::PointRadius => true,
            Self::Count(_) | Self::Sample => false,
        }
    }

    /// All operators.
    pub fn all() -> impl Iterator<Item = Self> {
        let texts = TextField::ALL.iter().copied().map(Self::Text);
        let counts = CountField::ALL.iter().copied().map(Self::Count);
        texts.chain(counts).chain([Self::Has, Self::Is, Self::BoundingBox, Self::PointRadius, Self::Sample])
    }
}

/// Returns the operator with a name in lower case. PowerTrack's second names are found by `unknown::alias`.
pub fn find(name: &str) -> Option<Operator> {
    Operator::all().find(|operator| operator.as_str() == name)
}
