//! `server/model`, reduced to keys and rules: the rest would add its dependencies.

#[path = "../../../../server/model/key.rs"]
mod key;
#[path = "../../../../server/model/key_set.rs"]
mod key_set;
mod post;

pub use key::{IndexKey, KeyFilter};
pub use key_set::KeySet;
pub use post::{Rule, tags};

/// Position of a record in the log.
pub type Sequence = u64;
