//! The index under loom: all interleavings up to a number of preemptions, and all values that weak memory allows.

#[path = "../hub.rs"]
pub mod hub;
#[path = "../notify.rs"]
pub mod notify;
pub mod sync;
/// The index itself.
#[path = "../../../../server/hub/wakeup.rs"]
pub mod wakeup;

pub use crate::entry;
