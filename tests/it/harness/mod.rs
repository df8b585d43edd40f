//! What the scenarios are made with: the real gateway, a stand-in for X, a real client, and an oracle.
//!
//! Nothing is mocked inside the gateway. `env` runs it in this process on free ports, `process` runs the binary, so
//! that it can be killed. `subscriber` reads a session and checks in every frame what holds for all sessions, `resuming_consumer` is
//! one consumer over all its sessions, `gaps` what it was told of gaps. `outage` plays outages with a clock that runs fast;
//! `clock_jump` and `lost_log` let time pass at once. `filters` and `ground_truth` share no code with what they judge.

pub mod clock_jump;
pub mod env;
pub mod eventually;
pub mod filters;
pub mod gaps;
pub mod ground_truth;
pub mod lost_log;
pub mod outage;
pub mod posts;
pub mod probe;
pub mod process;
pub mod proxy;
pub mod record;
pub mod resuming_consumer;
pub mod subscriber;
pub mod watermarks;

pub use clock_jump::Absence;
pub use env::TestEnv;
pub use eventually::{eventually, in_time};
pub use lost_log::Lost;
pub use outage::Drill;
pub use resuming_consumer::Lineage;
pub use subscriber::{Subscriber, after, earliest, last_token, latest, reason};
