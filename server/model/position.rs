use std::fmt;

/// Position of a record in an account's log: +1 per record, the first is 1; 0 = before the first.
pub type Sequence = u64;

/// Identity of a log, drawn at random when it is created.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub u128);

/// Identity of one writer incarnation (a process start or an election), drawn at random.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Term(pub u64);

/// Entry of the log's table of terms. The table is never trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermStart {
    /// The term.
    pub term: Term,
    /// Its first record.
    pub first: Sequence,
}

/// A position in a log, immediately after a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The log.
    pub epoch: Epoch,
    /// Writer of the record.
    pub term: Term,
    /// The record; 0 = before the first.
    pub sequence: Sequence,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Term {
    /// 16 hexadecimal digits, as in the API.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
