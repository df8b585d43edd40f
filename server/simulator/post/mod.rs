//! Posts in the native-enriched shape: drawn from a seed, or played from a file.
//!
//! Owns: ids, the corpus of words, the shape of a post, its text form with X's escapes, and changes to that text at the root.
//! Does not own: rules and what they match (`rules`), delivery to connections (`stream`).
//!
//! Invariants
//! - The same seed, ids and times give the same bytes (`generator`: `same_seed_draws_same_posts`).
//! - No id is used twice (`snowflake`: `ids_are_unique_and_contain_time`).
//! - A change at the root leaves every other byte as it was (`splice`: `other_bytes_stay_as_they_were`).

mod corpus;
mod generator;
mod json;
mod playback;
mod post_json;
mod snowflake;
mod splice;

pub(super) use generator::Generator;
pub(super) use playback::Playback;
pub(super) use post_json::created_at;
pub(super) use snowflake::{GeneratedId, Snowflakes};
pub(super) use splice::{indented, root_value, with_member};
