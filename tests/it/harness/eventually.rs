//! The one loop that polls. A test never sleeps: it waits for a condition, and fails with its name past the deadline.

use std::time::Duration;

use powerstream_gateway::clock::Clock;

/// Longest wait for anything: far more than anything takes, for machines that are busy with something else.
pub const DEADLINE: Duration = Duration::from_secs(180);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until the condition holds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let clock = Clock::system();
    let holds = async {
        while !condition().await {
            clock.sleep(LOOK).await;
        }
    };
    in_time(what, holds).await;
}

/// Waits for something to come, up to the deadline.
pub async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    match Clock::system().timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("it did not come within {DEADLINE:?}: {what}"),
    }
}
