use std::io::Write;

use tokio::io::AsyncWriteExt;

use crate::exit::{Exit, Failure};

/// Prints lines for programs on stdout, and waits until the system has taken them: a token stored after it is true.
pub async fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = tokio::io::stdout();
    let written = async {
        stdout.write_all(text).await?;
        stdout.flush().await
    };
    written.await.map_err(|error| Failure::new(Exit::Failed, format!("cannot write the output: {error}")))
}

/// Says a line to people on stderr; a text from outside stays on its line. Words that cannot be written are lost.
pub fn say(words: &str) {
    let line: Vec<_> = words.split_whitespace().collect();
    writeln!(std::io::stderr(), "{}", line.join(" ")).ok();
}
