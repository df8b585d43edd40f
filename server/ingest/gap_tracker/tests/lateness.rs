//! How late the stream is, for low watermarks.

use super::redundant::{at, connect, flow, machine};
use super::*;

/// Lateness follows the connection for as long as it is up.
#[test]
fn lateness_is_that_of_connection() {
    for lag in [0, 45, 120] {
        let mut machine = machine(PersistedState::default(), &["all"], Vec::new(), 0, None);
        connect(&mut machine, 0, 0, 0);
        flow(&mut machine, 0, 0, 1..3_600, lag);
        let late = machine.late(at(3_599)).as_secs();
        let expected = u64::try_from(lag).expect("positive").max(LATENESS.as_secs());
        assert!((expected..=expected + 2).contains(&late), "{late} s after an hour with posts of {lag} s");
    }
}

/// The connection that began last has not delivered the end of the time that is settled.
#[test]
fn lateness_counts_time_before_settled_one() {
    let mut machine = machine(PersistedState::default(), &["all"], Vec::new(), 0, None);
    connect(&mut machine, 0, 0, 0);
    flow(&mut machine, 0, 0, 1..100, 90);
    let late = machine.late(at(99)).as_secs();
    assert!(late >= 90, "{late} s, with posts of 90 s");
}
