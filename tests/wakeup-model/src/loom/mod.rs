//! The index under loom: all interleavings up to a number of preemptions, and all values that weak memory allows.

#[path = "../hub.rs"]
pub mod hub;
#[path = "../notify.rs"]
pub mod notify;
/// The index itself.
#[path = "../../../../server/hub/wakeup.rs"]
pub mod parked;
pub mod sync;

pub use crate::entry;
