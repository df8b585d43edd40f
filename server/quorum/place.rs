//! Place and kind of a message of the shared log.

/// Place of a message in the shared log: +1 per message, the first is 1; 0 = before the first.
pub type LogPlace = u64;

/// Kind of a message. All kinds share one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A block of the account's log.
    Log,
    /// A block of the side log.
    Side,
    /// State from which a new leader continues: open gaps, jobs.
    Checkpoint,
}
