//! Tests of the language as a whole.
//!
//! `vectors`: rules with their posts or findings, from a file. `properties`: random rules, posts and bytes (`generate`).
//! `hostile`: the longest and deepest rules. Tests of single parts are in the files of these parts.
//!
//! Invariant: expected results come from the description of the language, never from the code.

mod generate;
mod hostile;
mod properties;
mod vectors;
