use std::io::Write;

use powerstream_consumer::printable;

use crate::exit::{Exit, Failure};

/// Prints lines for programs on stdout, and returns once the system has accepted them. A dedicated thread waits for the reader
/// of the output, so that the process still handles signals.
pub async fn print(text: Vec<u8>) -> Result<(), Failure> {
    let write = move || {
        let mut stdout = std::io::stdout();
        stdout.write_all(&text).and_then(|()| stdout.flush())
    };
    let written = tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other).and_then(|written| written);
    written.map_err(|error| Failure::new(Exit::Failed, format!("cannot write the output: {error}")))
}

/// Prints a line for people on stderr. A line that cannot be written is lost.
pub fn print_status(line: &str) {
    let words: Vec<_> = line.split_whitespace().collect();
    writeln!(std::io::stderr(), "{}", printable(&words.join(" "))).ok();
}
