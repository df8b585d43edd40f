//! Output of a command.

use serde_json::Value;

use crate::cli::exit::Exit;

/// Format of the output of commands that call a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OutputFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Output of a command on stdout, and its exit.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) text: String,
    pub(super) exit: Exit,
}

impl Shown {
    /// Creates an output without text.
    pub(super) fn nothing(exit: Exit) -> Self {
        Self { text: String::new(), exit }
    }

    /// Creates an output in a format.
    pub(super) fn new(format: OutputFormat, json: &Value, text: impl FnOnce() -> String) -> Self {
        let text = match format {
            OutputFormat::Text => text(),
            OutputFormat::Json => format!("{json:#}\n"),
        };
        Self { text, exit: Exit::Done }
    }

    /// Sets the exit.
    pub(super) fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }
}
