//! Characters, normal form and tokens of texts, the same for rules and posts.
//!
//! Owns: classes of characters (`chars`, `emoji`), the form in which texts are compared (`normal`), the split into
//! tokens (`tokens`). Does not own: which texts of a post a term reads (`facts`), what a term means (`matching`).
//!
//! Invariant: a rule and a post go through the same functions, so that equal texts are equal after them.

pub mod chars;
pub mod emoji;
pub mod normal;
pub mod tokens;
