//! Media of a post.

use super::payload::{Entities, Media, PostObject};

/// Returns the media of one post. `extended_entities` has the kind of each; `entities` calls videos photos, and is read
/// only without the other.
pub(super) fn of<'p, 'a>(post: &'p PostObject<'a>) -> &'p [Media<'a>] {
    let extended = post.extended_tweet.as_ref();
    let sources = [
        extended.and_then(|extended| extended.extended_entities.as_ref()),
        post.extended_entities.as_ref(),
        extended.and_then(|extended| extended.entities.as_ref()),
        post.entities.as_ref(),
    ];
    let media = |entities: &'p Entities<'a>| entities.media.as_deref().filter(|media| !media.is_empty());
    sources.into_iter().flatten().find_map(media).unwrap_or_default()
}

/// True if one of the media has a kind.
pub(super) fn has_kind(media: &[Media<'_>], kind: &str) -> bool {
    media.iter().any(|media| media.kind.as_ref().is_some_and(|text| text.0 == kind))
}
