//! When the records of an append were read from their live connections.

use std::ops::Range;

use crate::clock::Moment;
use crate::model::Sequence;

/// Moments of receipt by sequence. The log has only the millisecond of the receipt, and no format changes for a metric.
#[derive(Clone, Debug, Default)]
pub struct Receipts(Vec<(Range<Sequence>, Moment)>);

impl Receipts {
    /// Adds records that were read at `read_at`. They follow those added before.
    pub fn add(&mut self, records: Range<Sequence>, read_at: Moment) {
        if !records.is_empty() {
            self.0.push((records, read_at));
        }
    }

    /// Returns when a record was read; `None` if it did not come on a live connection.
    pub fn read_at(&self, sequence: Sequence) -> Option<Moment> {
        let at = self.0.partition_point(|(records, _)| records.end <= sequence);
        self.0.get(at).filter(|(records, _)| records.contains(&sequence)).map(|(_, read_at)| *read_at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn receipt_covers_only_its_records() {
        let at = |millis| Moment::ZERO.plus(Duration::from_millis(millis));
        let mut receipts = Receipts::default();
        receipts.add(3..5, at(1));
        receipts.add(5..5, at(2));
        receipts.add(7..8, at(3));
        let found: Vec<_> = (2..9).map(|sequence| receipts.read_at(sequence)).collect();
        assert_eq!(found, [None, Some(at(1)), Some(at(1)), None, None, Some(at(3)), None]);
    }
}
