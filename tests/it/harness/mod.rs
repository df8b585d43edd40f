//! Test harness: the real gateway, a simulator of X, a real client, and an oracle.
//!
//! Nothing is mocked inside the gateway. `env` runs it in this process on free ports, `process` runs the binary, so
//! that it can be killed. `subscriber` reads a session and checks every frame, `resuming_consumer` is one consumer over
//! all its sessions, `gaps` collects its gap reports. `outage` plays outages with a fast clock; `clock_jump` and
//! `lost_log` set the clock forward. `pki` issues certificates, `tokens` and
//! `jwt` bearer tokens. `filters` and `ground_truth` share no code with the gateway.

pub mod clock_jump;
pub mod env;
pub mod eventually;
pub mod filters;
pub mod gaps;
pub mod ground_truth;
pub mod jwt;
pub mod lost_log;
pub mod outage;
pub mod pki;
pub mod posts;
pub mod probe;
pub mod process;
pub mod proxy;
pub mod record;
pub mod requests;
pub mod resuming_consumer;
pub mod subscriber;
pub mod tokens;
pub mod watermarks;

pub use clock_jump::Absence;
pub use env::TestEnv;
pub use eventually::{eventually, in_time};
pub use lost_log::Lost;
pub use outage::Drill;
pub use resuming_consumer::ResumingConsumer;
pub use subscriber::{Subscriber, after, earliest, end_of, last_token, latest, reason};
