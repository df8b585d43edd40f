//! The one integration-test binary.

mod harness;
mod main_job;
mod tidy;
