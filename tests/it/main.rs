//! The one integration-test binary.

mod crowd;
mod damage;
mod deltas;
mod ends;
mod harness;
mod health;
mod killed;
mod live;
mod lookups;
mod main_job;
mod private;
mod private_faults;
mod private_more;
mod recovery_rpc;
mod resume;
mod rubbish;

mod stalled;
mod starts;
mod stop;
mod tidy;
mod upstream;
