use std::process::ExitCode;

/// Result of a command, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or stopped by a signal.
    Done,
    /// Failed: network, disk, or a bug. Findings of `rules check`.
    Failed,
    /// Invalid command line or configuration.
    Usage,
    /// Events missing, repeated or out of order: the delivery contract was violated.
    ContractViolated,
    /// Refused by the gateway: credentials, or no access to the account.
    Refused,
    /// The position cannot be served: too old, in the future, malformed, or of another account.
    Position,
}

/// Exit codes, printed after the help.
pub(super) const HELP: &str = "\
Exit codes: 0 done; 1 failed, or findings of `rules check`; 2 invalid command line or configuration;
3 events missing, repeated or out of order; 4 refused by the gateway; 5 position cannot be served.";

impl Exit {
    /// Returns the exit code of the process.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::ContractViolated => 3,
            Self::Refused => 4,
            Self::Position => 5,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_keep_their_numbers() {
        let all = [Exit::Done, Exit::Failed, Exit::Usage, Exit::ContractViolated, Exit::Refused, Exit::Position];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5]);
        for exit in all {
            assert!(HELP.contains(&format!("{} ", exit.code())), "{exit:?} is not in the help");
        }
    }
}
