//! What a subscriber is due, and whether it got that: where a scenario has nothing more to it than posts that were sent.

use powerstream_gateway::proto::{Event, TagFilter};
use powerstream_gateway::simulator::SentPost;

use super::{filters, record};

/// The posts that are for a subscriber, in the order they were sent.
pub fn expected(truth: &[SentPost], filter: &TagFilter) -> Vec<SentPost> {
    truth.iter().filter(|post| filters::takes(filter, &post.rules)).cloned().collect()
}

/// Nothing is missing, repeated, out of order, foreign, damaged or mislabelled.
pub fn assert_exact(label: &str, expected: &[SentPost], got: &[Event]) {
    record::assert_sound(label, &record::plain(expected, got));
}
