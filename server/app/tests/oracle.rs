//! Judges a history: what X held and what the gateway read against what each subscription got. It knows the contract and
//! the truth, and nothing of the product.
//!
//! Each fault begins with the check that found it: an invariant of the contract (`I2:`), or `labels:`, `watermark:`,
//! `accounting:`, `wakes:`, or `oracle:`, the oracle of `tests/it`, which judges every history as well.

mod announced;
mod delivery;
mod gaps;
mod tight;
mod wire;

use super::record::Record;

/// Everything that is wrong with a history.
pub(super) fn judge(record: &Record) -> Vec<String> {
    let mut faults = record.faults.clone();
    for subscription in &record.subscriptions {
        let mut own = delivery::judge(record, subscription);
        own.extend(gaps::judge(record, subscription));
        own.extend(announced::judge(record, subscription));
        faults.extend(own.into_iter().map(|fault| format!("subscription {}: {fault}", subscription.number)));
    }
    faults.extend(announced::compare(record));
    faults.extend(wire::judge(record));
    // Origins near a reconnect and marks after damage are bounded above, by what the plain data of a history leave out.
    let is_judged_above =
        |fault: &::oracle::Fault| matches!(fault.kind, ::oracle::Kind::Origin | ::oracle::Kind::Marked);
    let plain = ::oracle::judge(&super::plain::history(record));
    faults.extend(plain.iter().filter(|fault| !is_judged_above(fault)).map(|fault| format!("oracle: {fault}")));
    faults.truncate(40);
    faults
}

/// The check that found a fault.
pub(super) fn check(fault: &str) -> &str {
    let own = match fault.strip_prefix("subscription ") {
        Some(rest) => rest.split_once(": ").map_or(rest, |(_, own)| own),
        None => fault,
    };
    own.split_once(':').map_or("other", |(check, _)| check)
}
