//! The index under shuttle: random interleavings, sequentially consistent.

#[path = "../hub.rs"]
pub mod hub;
#[path = "../notify.rs"]
pub mod notify;
pub mod sync;
/// The index itself.
#[path = "../../../../server/hub/wakeup.rs"]
pub mod wakeup;

pub use crate::entry;
