//! Consumers that an operator keeps out for a limited time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;

use super::PrincipalName;
use crate::clock::{Clock, Moment};
use crate::model::AccountName;

/// A consumer of a principal on an account.
pub type RefusedConsumer = (AccountName, PrincipalName, String);

/// Consumers whose sessions are refused, at most `max` at a time.
pub struct Refusals {
    max: usize,
    clock: Clock,
    /// Number of entries, so that sessions begin without the lock while there are none.
    count: AtomicUsize,
    until: Mutex<HashMap<RefusedConsumer, Moment>>,
}

/// Too many consumers are refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("refusal limit reached: {0} consumers are refused (admin.refusals_max)")]
pub struct RefusalLimitReached(pub usize);

impl Refusals {
    /// Creates an empty table.
    pub fn new(max: usize, clock: Clock) -> Self {
        Self { max, clock, count: AtomicUsize::new(0), until: Mutex::default() }
    }

    /// Refuses a consumer for this long from now on, instead of what was set for it before. Returns `RefusalLimitReached`
    /// if as many others are refused.
    pub fn refuse(&self, consumer: RefusedConsumer, duration: Duration) -> Result<(), RefusalLimitReached> {
        let now = self.clock.moment();
        let mut until = self.until.lock();
        until.retain(|_, until| *until > now);
        if until.len() >= self.max && !until.contains_key(&consumer) {
            return Err(RefusalLimitReached(until.len()));
        }
        until.insert(consumer, now.plus(duration));
        self.count.store(until.len(), Ordering::Release);
        Ok(())
    }

    /// Returns how long the consumer is still refused; `None`: it is not.
    pub fn remaining(&self, account: &AccountName, principal: &PrincipalName, consumer: &str) -> Option<Duration> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let now = self.clock.moment();
        let mut until = self.until.lock();
        until.retain(|_, until| *until > now);
        self.count.store(until.len(), Ordering::Release);
        let key = (account.clone(), principal.clone(), consumer.to_owned());
        until.get(&key).map(|until| until.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixMillis;

    #[tokio::test(start_paused = true)]
    async fn only_refused_consumer_is_refused_until_its_end() {
        let refusals = Refusals::new(2, Clock::of_runtime(UnixMillis(0)));
        let account = |name| AccountName::new(name).expect("a name");
        let key = |consumer: &str| (account("main"), PrincipalName::from("p"), consumer.to_owned());
        let left = |name, principal: &str, consumer| refusals.remaining(&account(name), &principal.into(), consumer);
        let minute = Duration::from_secs(60);
        assert_eq!(left("main", "p", "a"), None);
        refusals.refuse(key("a"), minute).expect("within the limit");
        refusals.refuse(key("b"), 2 * minute).expect("within the limit");
        assert_eq!(refusals.refuse(key("c"), minute), Err(RefusalLimitReached(2)));
        assert_eq!(left("main", "p", "a"), Some(minute));
        for (name, principal, consumer) in [("eu", "p", "a"), ("main", "", "a"), ("main", "p", "aa"), ("main", "p", "")]
        {
            assert_eq!(left(name, principal, consumer), None, "{name} {principal} {consumer}");
        }
        tokio::time::advance(minute).await;
        assert_eq!((left("main", "p", "a"), left("main", "p", "b")), (None, Some(minute)));
        refusals.refuse(key("c"), minute).expect("one has ended");
        refusals.refuse(key("c"), 3 * minute).expect("replaced");
        assert_eq!(left("main", "p", "c"), Some(3 * minute));
        tokio::time::advance(3 * minute).await;
        assert_eq!(left("main", "p", "c"), None);
        assert_eq!(refusals.count.load(Ordering::Relaxed), 0);
        assert!(Refusals::new(0, Clock::system()).refuse(key("a"), minute).is_err());
    }
}
