//! A rule of a file, and what can be wrong with a file.

use std::io;

/// Largest rule file. A thousand rules of 2,048 characters with notes take less.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// A rule of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRule {
    /// Name, unique in its set.
    pub name: Option<String>,
    /// The rule itself, as written.
    pub value: String,
    /// Tag; by default the name.
    pub tag: Option<String>,
    /// Remark for people.
    pub note: Option<String>,
    /// Codes of warnings that are not reported for this rule.
    pub allow: Vec<String>,
    /// Line of the value, from 1.
    pub line: usize,
    /// Column of the value's first character in UTF-16 units, from 1, if the value is on one line exactly as it is.
    pub column: Option<usize>,
}

impl FileRule {
    /// Returns the tag that the rule gets at X.
    pub fn effective_tag(&self) -> Option<&str> {
        self.tag.as_deref().or(self.name.as_deref())
    }

    /// Returns name or tag, if the rule has one.
    pub fn label(&self) -> Option<&str> {
        self.name.as_deref().or(self.tag.as_deref())
    }

    /// Sets the place of the value from its line and its first character, which may be a quote.
    pub(super) fn locate(&mut self, line: usize, text: &str, chars_before: usize) {
        self.line = line;
        let start = text.char_indices().nth(chars_before).map_or(text.len(), |(at, _)| at);
        let quote = usize::from(text[start..].starts_with(['"', '\'']));
        let is_exact = !self.value.is_empty() && text[start + quote..].starts_with(&self.value);
        self.column = is_exact.then(|| text[..start + quote].encode_utf16().count() + 1);
    }
}

/// A rule file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RuleFileError {
    /// The file cannot be opened or read.
    #[error("failed to read: {0}")]
    Read(#[from] io::Error),
    /// The file is too large.
    #[error("larger than {FILE_BYTES_MAX} bytes; split the file")]
    TooLarge,
    /// The text is no YAML or JSON, or no list of rules.
    #[error("line {line}: {message}")]
    Format {
        /// Line, from 1.
        line: usize,
        /// What is wrong and what to do.
        message: String,
    },
}
