/// Exit codes, as the gateway's own commands have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Unsound = 3,
    Refused = 4,
    Position = 5,
}

/// Why the process ends, for whoever runs it.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub words: String,
}

impl Failure {
    pub fn new(exit: Exit, words: impl Into<String>) -> Self {
        Self { exit, words: words.into() }
    }

    pub fn usage(words: impl Into<String>) -> Self {
        Self::new(Exit::Usage, words)
    }
}
