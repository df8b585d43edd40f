//! The index under shuttle: random interleavings, sequentially consistent.

#[path = "../hub.rs"]
pub mod hub;
#[path = "../notify.rs"]
pub mod notify;
/// The index itself.
#[path = "../../../../server/hub/wakeup.rs"]
pub mod parked;
pub mod sync;

pub use crate::entry;
