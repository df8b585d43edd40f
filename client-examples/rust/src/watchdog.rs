use std::time::Duration;

use crate::retry_policy::Ending;

/// Waits for `next` for at most so long: only the wait is measured, not what is done between two.
pub async fn watched<T>(next: impl Future<Output = T>, silence_max: Duration) -> Result<T, Ending> {
    tokio::time::timeout(silence_max, next).await.map_err(|_| Ending::Silence(silence_max))
}
