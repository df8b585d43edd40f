//! Judges a history: what X held and what the gateway read against what each subscription got. It knows the contract and
//! the truth, and nothing of the product.

mod delivery;
mod gaps;
mod wire;

use super::play::Record;

/// Everything that is wrong with a history.
///
/// The width of gaps is judged with `HISTORY_TIGHT=1` only: the rule for connections that are silent although posts are due
/// (contract, 6.2) is not known here yet.
pub(super) fn judge(record: &Record) -> Vec<String> {
    let tight = std::env::var("HISTORY_TIGHT").is_ok_and(|text| text == "1");
    let mut faults = record.faults.clone();
    for subscription in &record.subscriptions {
        let own = delivery::judge(record, subscription);
        faults.extend(own.into_iter().map(|fault| format!("subscription {}: {fault}", subscription.number)));
        let is_wide = |fault: &String| fault.starts_with(gaps::WIDE);
        let own = gaps::judge(record, subscription).into_iter().filter(|fault| tight || !is_wide(fault));
        faults.extend(own.map(|fault| format!("subscription {}: {fault}", subscription.number)));
    }
    faults.extend(wire::judge(record));
    faults.truncate(40);
    faults
}
