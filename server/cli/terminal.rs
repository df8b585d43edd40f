//! Output of the commands.

use std::io::Write;

/// A line of words for a person, on stderr; a closed stderr is nobody's loss.
pub(super) fn print_status(words: std::fmt::Arguments<'_>) {
    writeln!(std::io::stderr(), "{words}").ok();
}

/// Data, on stdout; a closed one ends the output quietly.
pub(super) fn print(data: &str) {
    std::io::stdout().write_all(data.as_bytes()).ok();
}
