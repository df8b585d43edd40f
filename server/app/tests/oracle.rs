//! Judges a history: what X held and what the gateway read against what each subscription got. It knows the contract and
//! the truth, and nothing of the product.

mod delivery;
mod gaps;
mod wire;

use super::play::Record;

/// Everything that is wrong with a history.
pub(super) fn judge(record: &Record) -> Vec<String> {
    let mut faults = record.faults.clone();
    for subscription in &record.subscriptions {
        let own = delivery::judge(record, subscription);
        faults.extend(own.into_iter().map(|fault| format!("subscription {}: {fault}", subscription.number)));
        let own = gaps::judge(record, subscription);
        faults.extend(own.into_iter().map(|fault| format!("subscription {}: {fault}", subscription.number)));
    }
    faults.extend(wire::judge(record));
    faults.truncate(40);
    faults
}
