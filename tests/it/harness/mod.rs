//! What the scenarios are made with: the real gateway, a stand-in for X, a real client, and an oracle.
//!
//! Nothing is mocked inside the gateway. `world` runs it in this process on free ports, `process` runs the binary, so
//! that it can be killed. `subscriber` reads a session and checks in every frame what holds for all sessions, `lineage` is
//! one consumer over all its sessions, `gaps` what it was told of gaps. `drill` plays outages with a clock that runs fast;
//! `absence` and `lost` let time pass at once. `filters` and `oracle` share no code with what they judge.

pub mod absence;
pub mod drill;
pub mod eventually;
pub mod filters;
pub mod gaps;
pub mod lineage;
pub mod lost;
pub mod oracle;
pub mod posts;
pub mod probe;
pub mod process;
pub mod proxy;
pub mod record;
pub mod subscriber;
pub mod watermarks;
pub mod world;

pub use absence::Absence;
pub use drill::Drill;
pub use eventually::{eventually, in_time};
pub use lineage::Lineage;
pub use lost::Lost;
pub use subscriber::{Subscriber, after, earliest, last_token, latest, reason};
pub use world::World;
