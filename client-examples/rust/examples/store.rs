//! Rows that the examples store in addition to posts, the same for each database.

use powerstream_consumer::proto::TimeInterval;
use powerstream_consumer::{Content, Timestamp};

/// A row of the table `gaps`.
pub struct GapRow {
    pub gap_id: String,
    pub state: String,
    pub start_time: Option<String>,
    pub end_time: Option<String>,
}

impl GapRow {
    /// Returns the row of a delivery that reports a gap, or posts that this consumer does not get.
    pub fn of(content: &Content) -> Option<Self> {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let row = |gap_id, state, interval: Option<TimeInterval>| {
            let interval = interval.unwrap_or_default();
            Self { gap_id, state, start_time: text(interval.start_time), end_time: text(interval.end_time) }
        };
        match content {
            Content::Gap(gap) => Some(row(gap.gap_id.clone(), gap.state_name(), gap.interval)),
            Content::Missing(interval) => {
                let end = text(interval.end_time).unwrap_or_else(|| "now".into());
                Some(row(format!("missing before {end}"), "missing".into(), Some(*interval)))
            }
            Content::Skipped(skipped) => {
                let id = format!("skipped at {}", skipped.sequence);
                Some(row(id, format!("{} skipped", skipped.count), skipped.interval))
            }
            _ => None,
        }
    }
}
