//! How long the sequencer runs at a time.

use super::*;

/// A reader that runs the sequencer waits for one batch, however long the queue is.
#[test]
fn one_batch_is_appended_in_turn() {
    let mut env = TestEnv::new(0);
    env.put_long(40, 100 << 10);
    let (sequencer, giving_up) = (env.sequencer.take().expect("run once"), env.giving_up.clone());
    let TestEnv { runtime, queue, metrics, .. } = env;
    drop(queue);
    runtime.block_on(async {
        let mut writes = Box::pin(sequencer.write_all(&giving_up));
        let (mut before, mut is_over) = (0, false);
        while !is_over {
            is_over = futures::poll!(writes.as_mut()).is_ready();
            let appends = metrics.appends.get();
            assert!(appends <= before + 1, "{} batches in a turn", appends - before);
            before = appends;
            tokio::task::yield_now().await;
        }
        assert!(before > 2, "{before} batches");
    });
}
