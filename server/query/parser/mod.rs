//! Reads a rule into a tree, with all errors at once.
//!
//! Owns: the split into pieces (`lexer`), the structure (`structure`), terms and their values (`terms`, `values`, `geo`).
//! Does not own: findings that need the whole tree (`check`), printing (`print`).
//!
//! After an error the parser continues with what follows, so that one mistake hides no other. It does not recurse: open
//! brackets are on a stack of its own, so that no input exhausts that of the thread. Each character is read a bounded
//! number of times.

mod geo;
mod lexer;
mod piece;
mod structure;
mod terms;
mod values;

pub use structure::{NESTING_MAX, parse};
