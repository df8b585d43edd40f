//! The one integration-test binary.

mod ends;
mod harness;
mod main_job;
mod resume;
mod sigkill;
mod stop;
mod tidy;
