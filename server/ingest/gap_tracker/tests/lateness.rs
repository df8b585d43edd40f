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

/// A redundant connection has ended: what the slower one has not delivered may be missing after a loss of the log, although
/// the other one had delivered it.
#[test]
fn lateness_counts_what_open_connections_delivered() {
    let mut machine = machine(PersistedState::default(), &["all"], Vec::new(), 0, None);
    connect(&mut machine, 0, 0, 0);
    connect(&mut machine, 0, 1, 1);
    for second in 2..400 {
        flow(&mut machine, 0, 0, second..second + 1, 0);
        flow(&mut machine, 0, 1, second..second + 1, 60);
    }
    machine.on_disconnect(0, 0, GapCause::Disconnected);
    let late = machine.late(at(399)).as_secs();
    assert!((60..=62).contains(&late), "{late} s, with posts of 60 s on the connection that is left");
}
