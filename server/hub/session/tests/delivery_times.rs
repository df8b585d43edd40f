//! Deliveries that `delivery_seconds` counts.

use super::*;
use crate::hub::entry::Receipts;

impl TestEnv {
    /// Appends a post that was read from a live connection just now.
    fn post_live(&self) {
        let (record, mut receipts) = (post_record(self.hub.next(), &["a"]), Receipts::default());
        receipts.add(record.sequence..record.sequence + 1, self.now());
        self.writer.lock().append(std::slice::from_ref(&record)).expect("memory takes it");
        self.hub.publish_live(vec![record], &receipts);
    }
}

async fn next_timer(session: &mut Session) -> Option<DeliveryTimer> {
    let frame = session.next().await.expect("the session continues");
    assert_eq!(sequences(&frame).len(), 1, "one event: {frame:?}");
    session.delivery_timer(&frame.content)
}

/// A resumed subscription receives posts that are hours old, and a recovered post is as old as its gap: neither shows
/// how fast the gateway is.
#[test]
fn replayed_and_recovered_posts_are_not_timed() {
    runtime().block_on(async {
        let env = TestEnv::new(Config::default());
        env.post_live();
        env.post_live();
        let mut session = env.subscribe(&["a"], Start::Earliest);
        let replayed = until_caught_up(&mut session).await;
        assert_eq!(replayed.iter().flat_map(sequences).collect::<Vec<_>>(), [1, 2]);
        assert!(replayed.iter().all(|frame| session.delivery_timer(&frame.content).is_none()));
        env.post(&[vec!["a"]]);
        assert!(next_timer(&mut session).await.is_none(), "not read from a live connection");
        env.post_live();
        let timer = next_timer(&mut session).await.expect("live, at the tip");
        assert_eq!(env.hub.metrics().delivery.count(), 0, "the socket has not accepted it");
        timer.complete();
        assert_eq!(env.hub.metrics().delivery.count(), 1);
    });
}
