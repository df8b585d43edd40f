use powerstream_consumer::{ConsumerError, CursorError, RefusalKind};

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

/// Why the process ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub text: String,
}

impl Failure {
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }
}

impl From<ConsumerError> for Failure {
    fn from(error: ConsumerError) -> Self {
        let refusal = match error {
            ConsumerError::Refused(refusal) => refusal,
            ConsumerError::Violated(violation) => return Self::new(Exit::Unsound, format!("UNSOUND: {violation}")),
        };
        let exit = match refusal.kind {
            RefusalKind::Request => Exit::Usage,
            RefusalKind::Access => Exit::Refused,
            RefusalKind::Position => Exit::Position,
        };
        let advice = match refusal.reason.as_str() {
            "POSITION_TOO_OLD" => "; --resume-policy earliest or latest continues without them",
            _ => "",
        };
        Self::new(exit, format!("{refusal}{advice}"))
    }
}

impl From<CursorError> for Failure {
    fn from(error: CursorError) -> Self {
        let exit = if matches!(error, CursorError::Malformed(_)) { Exit::Position } else { Exit::Failed };
        Self::new(exit, error.to_string())
    }
}
