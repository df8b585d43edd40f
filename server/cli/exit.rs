use std::process::ExitCode;

/// How a command ended, as its exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked, or was asked to stop.
    Done,
    /// It could not: network, disk, or a bug.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// Something was missing, repeated or out of order: a promise of the delivery contract is broken.
    ContractViolated,
    /// The gateway refuses this caller: credentials, or no right to the account.
    Refused,
    /// The position asked for cannot be served: too old, in the future, garbled, or of another account.
    Position,
}

/// The exit codes, for the end of the help.
pub(super) const HELP: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong command line or configuration; 3 something was missing, repeated or out of
order; 4 refused by the gateway; 5 the position asked for cannot be served.";

impl Exit {
    /// The number that the process ends with.
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
