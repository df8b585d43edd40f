//! The task that applies the rules of the lease to the shared keys, and its handle.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot, watch};

use super::rules::{LeaseRules, LeaseStep, Tenure, WriteOutcome};
use super::timing::{Config, Timing};
use super::value::{Replica, Version};
use crate::clock::{Clock, Moment};
use crate::model::AccountName;
use crate::quorum::{BusMessage, CompareAndSetError, Quorum, Revision};
use crate::task::Shutdown;

/// Key of the lease.
const KEY: &str = "lease";
/// Subject of the announcements of candidates.
const ANNOUNCEMENTS: &str = "candidates";
/// Releases that wait for the task.
const RELEASES_MAX: usize = 4;

/// Gives up the lease.
struct Release {
    /// When to be a candidate again; `None` = never.
    rejoin_after: Option<Duration>,
    /// Answered when the key is empty, or the lease has run out.
    done: oneshot::Sender<()>,
}

/// Shows whether this replica holds the lease. Clones share it.
#[derive(Clone)]
pub struct LeaseHandle {
    tenure: watch::Receiver<Option<Tenure>>,
    releases: mpsc::Sender<Release>,
    clock: Clock,
}

/// The task that acquires and renews the lease.
pub struct LeaseTask {
    account: AccountName,
    rules: LeaseRules,
    timing: Timing,
    version: Version,
    run: u64,
    shared: Quorum,
    clock: Clock,
    rng: StdRng,
    tenure: watch::Sender<Option<Tenure>>,
    releases: mpsc::Receiver<Release>,
    /// Releases that are not done.
    releasing: Vec<oneshot::Sender<()>>,
    announcements: Option<BoxStream<'static, BusMessage>>,
}

/// Creates the lease of an account for this replica.
pub fn lease(
    config: &Config,
    account: AccountName,
    own: Replica,
    shared: Quorum,
    clock: Clock,
    rng: StdRng,
) -> (LeaseHandle, LeaseTask) {
    let timing = Timing::new(config.ttl);
    let (sender, tenure) = watch::channel(None);
    let (orders, releases) = mpsc::channel(RELEASES_MAX);
    let handle = LeaseHandle { tenure, releases: orders, clock: clock.clone() };
    let (version, run) = (own.version, own.run);
    let rules = LeaseRules::new(timing, own);
    let task = LeaseTask {
        account,
        rules,
        timing,
        version,
        run,
        shared,
        clock,
        rng,
        tenure: sender,
        releases,
        releasing: Vec::new(),
        announcements: None,
    };
    (handle, task)
}

impl LeaseHandle {
    /// Returns the tenure, if the lease is held now. Check it directly before each use: a process may have been frozen.
    pub fn held(&self) -> Option<Tenure> {
        self.tenure.borrow().filter(|tenure| tenure.is_held_at(self.clock.moment()))
    }

    /// Returns the moment of the clock that measures tenures.
    pub fn now(&self) -> Moment {
        self.clock.moment()
    }

    /// Waits until this replica holds the lease. Cancel safe.
    pub async fn acquired(&self) -> Tenure {
        let mut tenure = self.tenure.clone();
        loop {
            if let Some(held) = self.held() {
                return held;
            }
            if tenure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until this tenure has ended. Cancel safe.
    pub async fn ended(&self, number: u64) {
        let mut tenure = self.tenure.clone();
        while let Some(held) = self.held().filter(|held| held.number == number) {
            tokio::select! {
                biased;
                () = self.clock.sleep_until(held.until) => {}
                changed = tenure.changed() => if changed.is_err() {
                    return;
                }
            }
        }
    }

    /// Releases the lease, so that another replica takes it at once, and returns when that is done; at the latest when it
    /// has run out. Afterwards this replica is a candidate again, if `rejoin_after` is set.
    pub async fn release(&self, rejoin_after: Option<Duration>) {
        let (done, released) = oneshot::channel();
        if self.releases.send(Release { rejoin_after, done }).await.is_ok() {
            released.await.ok();
        }
    }
}

/// End of a step.
enum StepEnd {
    Done,
    Announced(BusMessage),
    /// A call or wait was interrupted.
    Released(Release),
}

impl LeaseTask {
    /// Runs until shutdown, or until the lease was released for good. An orderly stop calls [`LeaseHandle::release`]
    /// before.
    pub async fn run(mut self, shutdown: Shutdown) {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = self.work() => {}
        }
        self.tenure.send_replace(None);
    }

    async fn work(&mut self) {
        loop {
            let now = self.clock.moment();
            let step = self.rules.step(now);
            self.publish();
            let (end, is_write) = match step {
                LeaseStep::Stop => return,
                LeaseStep::Wait(moment) => (self.wait(moment).await, false),
                LeaseStep::Look => (self.look().await, false),
                LeaseStep::Write { expected, value } => (self.write(expected, value, now).await, true),
            };
            match end {
                StepEnd::Done => {}
                StepEnd::Announced(delivery) => self.receive(&delivery),
                StepEnd::Released(release) => {
                    let rejoin = release.rejoin_after.map(|after| self.clock.moment().plus(after));
                    self.rules.release(rejoin, is_write);
                    self.releasing.push(release.done);
                }
            }
            self.publish();
        }
    }

    async fn wait(&mut self, until: Moment) -> StepEnd {
        let Self { clock, releases, announcements, .. } = self;
        let announcement = async {
            match announcements {
                Some(stream) => stream.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = clock.sleep_until(until) => StepEnd::Done,
            Some(release) = releases.recv() => StepEnd::Released(release),
            delivery = announcement => match delivery {
                Some(delivery) => StepEnd::Announced(delivery),
                None => {
                    self.announcements = None;
                    StepEnd::Done
                }
            },
        }
    }

    async fn look(&mut self) -> StepEnd {
        if self.rules.is_candidate() {
            self.announce().await;
        }
        let keys = self.shared.keys.clone();
        let entry = tokio::select! {
            entry = self.clock.timeout(self.timing.call_timeout(), keys.get(KEY)) => entry,
            Some(release) = self.releases.recv() => return StepEnd::Released(release),
        };
        // Not before the answer: a value counts from when it was received.
        let received = self.clock.moment();
        match entry {
            Ok(Ok(entry)) => self.rules.on_look(entry, received, self.rng.random()),
            Ok(Err(error)) => tracing::debug!(account = %self.account, %error, "failed to read lease"),
            Err(_) => tracing::debug!(account = %self.account, "timed out reading lease"),
        }
        StepEnd::Done
    }

    async fn write(&mut self, expected: Option<Revision>, value: Bytes, sent: Moment) -> StepEnd {
        let keys = self.shared.keys.clone();
        let set = tokio::select! {
            set = self.clock.timeout(self.timing.call_timeout(), keys.compare_and_set(KEY, expected, value)) => set,
            Some(release) = self.releases.recv() => return StepEnd::Released(release),
        };
        let outcome = match set {
            Ok(Ok(revision)) => WriteOutcome::Stored(revision),
            Ok(Err(CompareAndSetError::Conflict)) => WriteOutcome::Conflict,
            Ok(Err(error @ (CompareAndSetError::Unknown(_) | CompareAndSetError::Rejected(_)))) => {
                tracing::debug!(account = %self.account, %error, "failed to update lease");
                WriteOutcome::Unknown
            }
            Err(_) => WriteOutcome::Unknown,
        };
        self.rules.on_write(outcome, sent);
        StepEnd::Done
    }

    /// Announces the version of this candidate, and subscribes to the announcements of others.
    async fn announce(&mut self) {
        let bus = self.shared.bus.clone();
        let limit = self.timing.look_interval();
        if self.announcements.is_none()
            && let Ok(Ok(stream)) = self.clock.timeout(limit, bus.subscribe(ANNOUNCEMENTS)).await
        {
            self.announcements = Some(stream);
        }
        let announcement = serde_json::to_vec(&(self.run, self.version)).expect("numbers have a form in JSON");
        // A lost one costs at most a change of leader more.
        self.clock.timeout(limit, bus.publish(ANNOUNCEMENTS, announcement.into())).await.ok();
    }

    fn receive(&mut self, delivery: &BusMessage) {
        if let Ok((run, version)) = serde_json::from_slice::<(u64, Version)>(&delivery.payload)
            && run != self.run
        {
            self.rules.on_announcement(version, self.clock.moment());
        }
    }

    /// Publishes the tenure, and answers releases.
    fn publish(&mut self) {
        let tenure = self.rules.tenure();
        let number = |tenure: Option<Tenure>| tenure.map(|tenure| tenure.number);
        let before = self.tenure.send_replace(tenure);
        match (number(before), number(tenure)) {
            (before, Some(tenure)) if before != Some(tenure) => {
                tracing::info!(account = %self.account, tenure, "lease acquired");
            }
            (Some(tenure), None) => tracing::info!(account = %self.account, tenure, "lease ended"),
            _ => {}
        }
        if !self.rules.is_releasing() {
            for done in self.releasing.drain(..) {
                done.send(()).ok();
            }
        }
    }
}
