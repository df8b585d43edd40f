//! The lease of an account: the right of one replica to read the account's stream from X.
//!
//! Owns: the rules by which replicas acquire, renew, lose and release the lease, and the task that applies them to the
//! shared keys. Does not own: the choice of the leader of the shared log. The log itself makes it: the TERM record of a
//! new leader takes the place of whatever an older one still writes. **The lease proposes, the log elects**: if the lease
//! fails, X may see two connections, and the log stays correct.
//!
//! # Design
//! - The holder renews every fifth of the time to live. It holds the lease until four fifths after the moment it *sent*
//!   the last update that succeeded. Then it stops by itself, without an answer from anyone.
//! - A candidate reads the key every twentieth. It acquires the lease by compare-and-set on the value that it read, once
//!   the lease was released, or once the same value has stood for the whole time to live and a jitter, counted from the
//!   moment it first *received* it.
//! - Each replica counts on its own machine time, which continues while the machine is suspended. No wall clock is read,
//!   and no server expires anything, so differences between clocks do not matter.
//! - If the outcome of an update is unknown, the key is read: a value of ours counts from when that very update was
//!   sent. Each update has a number for this.
//! - Values are compared for difference, because a restored volume turns revisions back.
//! - Candidates announce their version. An older one leaves a newer one time to bid first, so that a rollout moves the
//!   leader once or twice.
//!
//! # Invariants
//! - At most one replica believes that it holds the lease at any time, whatever is lost, late or stale, if no clock is
//!   more than a tenth faster or slower than true time and the keys are not restored from an older copy (property in
//!   `tests`).
//! - A process that was frozen does not believe in its lease after it wakes: [`Tenure::is_held_at`] is a comparison with
//!   the time of the call, and no event has to arrive first.
//!
//! # Modules
//! `timing` (durations) · `value` (what the key contains) · `rules` (the state machine, pure) · `task` (applies it).

mod rules;
mod task;
#[cfg(test)]
mod tests;
mod timing;
mod value;

pub use rules::{LeaseRules, LeaseStep, Tenure, WriteOutcome};
pub use task::{LeaseHandle, LeaseTask, lease};
pub use timing::{Config, Timing};
pub use value::{LeaseValue, Replica, Version};
