//! Output of the commands.

use std::io::Write;

/// Prints a status message on stderr; ignores a closed stderr.
pub(super) fn print_status(words: std::fmt::Arguments<'_>) {
    writeln!(std::io::stderr(), "{words}").ok();
}

/// Prints data on stdout; ignores a closed stdout.
pub(super) fn print(data: &str) {
    std::io::stdout().write_all(data.as_bytes()).ok();
}
