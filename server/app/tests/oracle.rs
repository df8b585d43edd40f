//! Checks a history: what X held and what the gateway read against what each subscription got. It knows the contract and
//! the truth, and nothing of the product.
//!
//! The crate `oracle`, which the scenarios of `tests/it` use as well, checks every history; this adds what only a history
//! on the virtual clock shows. Each fault begins with the check that found it: an invariant of the contract (`I2:`), or
//! `labels:`, `watermark:`, `accounting:`, `wakes:`, `coverage:`.

mod announced;
mod covered;
mod delivery;
mod started;
mod tight;

use ::oracle::{Fault, Gap, Kind};

use super::record::Record;
use super::x::Connection;

/// Everything that is wrong with a history.
pub(super) fn find_faults(record: &mut Record) -> Vec<String> {
    let mut faults = own_faults(record);
    // Origins near a reconnect and marks after damage are bounded here, by what the plain data of a history leave out.
    let is_checked_here = |fault: &Fault| matches!(fault.kind, Kind::Origin | Kind::Marked);
    let history = super::plain::history(record);
    let text = |fault: &Fault| of(fault.subscription, format!("{}: {}", fault.kind.check(), fault.text));
    faults.extend(::oracle::check(&history).iter().filter(|fault| !is_checked_here(fault)).map(text));
    faults.truncate(40);
    record.subscriptions.iter_mut().zip(history.subscriptions).for_each(|(seen, got)| seen.got = got);
    faults
}

/// What only a history on the virtual clock shows to be wrong.
fn own_faults(record: &Record) -> Vec<String> {
    let mut faults = record.faults.clone();
    let (arrivals, sources) = (delivery::arrivals(record), announced::sources(record));
    for seen in &record.subscriptions {
        let mut own = delivery::check(record, seen, &arrivals);
        own.extend(announced::check(record, seen, &sources));
        own.extend(started::check(record, seen));
        let gaps = seen.last_gaps();
        let gaps: Vec<&Gap> = gaps.iter().filter(|gap| !gap.is_private).collect();
        own.extend(gaps.iter().filter_map(|gap| tight::check(record, gap, &gaps)));
        faults.extend(own.into_iter().map(|fault| of(Some(seen.number), fault)));
    }
    faults.extend(announced::compare(record));
    // Without it, each connection may carry the whole stream, and nothing of a datacenter is shown.
    let is_of_all = |own: &Connection| own.window.is_none() && own.datacenter.is_none();
    if record.plan.setup.datacenters && record.connections.iter().any(is_of_all) {
        faults.push("datacenters: a connection is not to one of them".to_owned());
    }
    faults.extend(covered::check(record, &arrivals));
    faults
}

/// A fault, and the subscription that it was found at.
fn of(subscription: Option<usize>, fault: String) -> String {
    subscription.map_or(fault.clone(), |number| format!("subscription {number}: {fault}"))
}

/// The check that found a fault.
pub(super) fn check(fault: &str) -> &str {
    let own = match fault.strip_prefix("subscription ") {
        Some(rest) => rest.split_once(": ").map_or(rest, |(_, own)| own),
        None => fault,
    };
    own.split_once(':').map_or("other", |(check, _)| check)
}
