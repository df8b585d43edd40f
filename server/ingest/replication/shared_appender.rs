//! Appends one message after the other to the shared log, each at exactly the expected place, and finds out what became of
//! those without an answer.
//!
//! | answer | action |
//! |---|---|
//! | stored at the expected place | done |
//! | stored elsewhere | the backend does not compare: end |
//! | the log does not end there | read the place: the own message counts as stored, another one ends the leadership |
//! | the log ends before that place, for a while | it has lost messages: end |
//! | stored, but another message is before it | the log has lost messages, and another replica wrote: end |
//! | none | repeat the same bytes for the same place while the lease is held |
//! | another message was at the place, and is removed | end; a follower is filled again unless no replica has read it |
//! | none for long, and there is no log | end |
//! | the lease is over | end; a follower reads from the log what became of it |

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::OptionFuture;
use thiserror::Error;

use super::counters::FollowCounters;
use super::follower::TIPS;
use super::last_counted::LastCounted;
use super::place::ReplicaPlace;
use super::place_check::ROLLBACK_CONFIRMATION;
use crate::backoff::{Backoff, Growth};
use crate::clock::{Clock, Moment};
use crate::lease::LeaseHandle;
use crate::quorum::{BlockHead, LogPlace, Message, Quorum, SharedAppendError};

/// Delays between attempts.
const RETRY: Backoff =
    Backoff { step: Duration::from_millis(5), max: Duration::from_millis(500), growth: Growth::Doubling };

/// Looks that have to show that the log ends before the place of the leader: a node that is behind answers some of them.
const SHORT_LOOKS_MIN: u32 = 4;

/// How long the message before the next one is known to be that of this leader. The nodes of a log do not restart and
/// elect a leader in a shorter time.
const KNOWN_FOR: Duration = Duration::from_millis(250);

/// Until when a leadership may write: while its lease is held.
#[derive(Clone)]
pub struct WritePermit(Arc<dyn Fn() -> Option<Moment> + Send + Sync>);

impl WritePermit {
    /// Returns the permit of a tenure of the lease.
    pub fn of_tenure(lease: LeaseHandle, number: u64) -> Self {
        Self(Arc::new(move || lease.held().filter(|held| held.number == number).map(|held| held.until)))
    }

    /// Returns a permit with this end. Without a lease the shared log alone fences its owner.
    #[cfg(test)]
    pub(super) fn new(until: impl Fn() -> Option<Moment> + Send + Sync + 'static) -> Self {
        Self(Arc::new(until))
    }

    /// Returns its current end; `None` if it is over. Check it directly before each use.
    pub fn until(&self) -> Option<Moment> {
        (self.0)()
    }
}

/// Why a leadership ended. Nothing of the message in question was exposed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LeadershipEnd {
    /// Another replica leads: its message is at the expected place.
    #[error("another replica wrote to place {place} of the shared log")]
    Fenced {
        /// The expected place.
        place: LogPlace,
    },
    /// The shared log has lost messages, and ends before this leader's place.
    #[error("shared log ends at place {end}, before place {place} of this leader: it has lost messages")]
    RolledBack {
        /// The last message of the leader.
        place: LogPlace,
        /// The last message of the shared log.
        end: LogPlace,
    },
    /// The shared log has lost messages, and another replica wrote others. The message in question does not count.
    #[error(
        "message before place {place} of the shared log is not the one that this leader knows: it has lost messages"
    )]
    Rewritten {
        /// Place of the message in question.
        place: LogPlace,
    },
    /// The message in question, or another one, was at the expected place, and is removed.
    #[error("message {place} of the shared log was removed before this leader has read it")]
    Trimmed {
        /// The expected place.
        place: LogPlace,
    },
    /// The nodes know no shared log.
    #[error("the shared log does not exist")]
    NoLog,
    /// The lease is over.
    #[error("lease ended")]
    LeaseEnded {
        /// The message may be stored, now or later.
        in_doubt: bool,
    },
    /// The shared log does not compare places. An operator must act.
    #[error("message for place {expected} is stored at {actual}; the shared log does not compare places")]
    Misplaced {
        /// The expected place.
        expected: LogPlace,
        /// Where it is.
        actual: LogPlace,
    },
    /// The shared log does not accept the message.
    #[error("shared log rejected the message: {0}")]
    Rejected(String),
    /// The own journal refuses what the shared log has. Other replicas can expose it.
    #[error("journal refuses records that the shared log has: {0}")]
    JournalUnavailable(String),
}

/// Result of an attempt to append, without a place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SharedAppendFailure {
    /// Unknown after the time of patience. The same message has to be appended again.
    Pending(String),
    /// The leadership has ended.
    Ended(LeadershipEnd),
}

/// The leader's end of the shared log.
pub(super) struct SharedAppender {
    shared: Quorum,
    clock: Clock,
    counters: FollowCounters,
    permit: WritePermit,
    patience: Duration,
    place: ReplicaPlace,
    /// The current message may be stored.
    in_doubt: bool,
    /// Since when the log ends before the place, and the number of looks that showed it.
    short_since: Option<(Moment, u32)>,
    counted: LastCounted,
    /// When the last message of the place was known to be there.
    known_at: Option<Moment>,
}

enum Attempt {
    Stored,
    Again(String),
    Ended(LeadershipEnd),
}

impl SharedAppender {
    pub(super) fn new(
        (shared, clock, counters): (Quorum, Clock, FollowCounters),
        permit: WritePermit,
        patience: Duration,
        (place, counted): (ReplicaPlace, LastCounted),
    ) -> Self {
        let (in_doubt, short_since, known_at) = (false, None, None);
        Self { shared, clock, counters, permit, patience, place, in_doubt, short_since, counted, known_at }
    }

    /// Returns the place after the last message that is in the own logs.
    pub(super) fn place(&self) -> &ReplicaPlace {
        &self.place
    }

    /// Appends a message directly after the place. Does not advance: the message has to be applied first.
    pub(super) async fn append(&mut self, message: &Message) -> Result<(), SharedAppendFailure> {
        let began = self.clock.moment();
        let mut failures = 0;
        loop {
            let Some(until) = self.permit.until() else {
                let end = LeadershipEnd::LeaseEnded { in_doubt: self.in_doubt };
                return Err(SharedAppendFailure::Ended(end));
            };
            let reason = match self.attempt_compared(message, until).await {
                Attempt::Stored => {
                    let now = self.clock.moment();
                    self.counters.append_duration.observe(now.since(began));
                    self.known_at = Some(now);
                    return Ok(());
                }
                Attempt::Ended(end) => return Err(SharedAppendFailure::Ended(end)),
                Attempt::Again(reason) => reason,
            };
            self.known_at = None;
            if self.clock.moment().since(began) >= self.patience {
                // A candidate finds out whether it is gone, and creates it again.
                return Err(match self.shared.log.info().await {
                    Ok(None) => SharedAppendFailure::Ended(LeadershipEnd::NoLog),
                    _ => SharedAppendFailure::Pending(reason),
                });
            }
            failures += 1;
            self.counters.append_retries.inc();
            self.clock.sleep(RETRY.wait(failures)).await;
        }
    }

    /// Stores the message behind the one that this leader knows. Both are asked for at once, so that the comparison costs no
    /// time, and again if the first answer is too old by then.
    async fn attempt_compared(&mut self, message: &Message, until: Moment) -> Attempt {
        let comparing = (!self.knows_last()).then(|| self.comparison(until));
        let asked = self.clock.moment();
        let (attempt, compared) = futures::join!(self.attempt(message, until), OptionFuture::from(comparing));
        if let Some(Attempt::Stored) = compared {
            self.known_at = Some(asked);
        }
        match (attempt, compared) {
            (Attempt::Stored, None | Some(Attempt::Stored)) if self.knows_last() => Attempt::Stored,
            (Attempt::Stored, None | Some(Attempt::Stored)) => self.comparison(until).await,
            (Attempt::Stored, Some(compared)) => compared,
            (attempt, _) => attempt,
        }
    }

    async fn attempt(&mut self, message: &Message, until: Moment) -> Attempt {
        if self.short_since.is_some() {
            // Another replica may write until the log ends at the place again, with other messages before it.
            return self.check_end(until).await;
        }
        let expected = self.place.last;
        // A dropped call may still be applied, so every attempt is in doubt until it is answered.
        let was_in_doubt = std::mem::replace(&mut self.in_doubt, true);
        let limit = until.since(self.clock.moment());
        match self.clock.timeout(limit, self.shared.log.append(expected, message.clone())).await {
            Ok(Ok(actual)) if actual == expected + 1 => Attempt::Stored,
            Ok(Ok(actual) | Err(SharedAppendError::Misplaced { actual, .. })) => {
                Attempt::Ended(LeadershipEnd::Misplaced { expected: expected + 1, actual })
            }
            Ok(Err(SharedAppendError::Conflict { .. })) => self.read_outcome(message, until).await,
            Ok(Err(SharedAppendError::Unknown(reason))) => Attempt::Again(reason),
            Ok(Err(SharedAppendError::Rejected(reason))) if was_in_doubt => Attempt::Again(reason),
            Ok(Err(SharedAppendError::Rejected(reason))) => {
                self.in_doubt = false;
                Attempt::Ended(LeadershipEnd::Rejected(reason))
            }
            Err(_) => Attempt::Again("no answer while the lease was held".into()),
        }
    }

    /// True if the message before the next one cannot be another one: it was there just now, and nothing failed since.
    fn knows_last(&self) -> bool {
        self.known_at.is_some_and(|at| self.clock.moment().since(at) < KNOWN_FOR)
    }

    /// A stored message counts only behind the one that this leader knows.
    fn comparison(&self, until: Moment) -> impl Future<Output = Attempt> + use<> {
        let (last, limit) = (self.place.last, until.since(self.clock.moment()));
        let (shared, clock, counted) = (self.shared.clone(), self.clock.clone(), self.counted);
        async move {
            match clock.timeout(limit, counted.is_rewritten(&shared, last)).await {
                Ok(Ok(false)) => Attempt::Stored,
                Ok(Ok(true)) => Attempt::Ended(LeadershipEnd::Rewritten { place: last + 1 }),
                Ok(Err(error)) => Attempt::Again(error.to_string()),
                Err(_) => Attempt::Again("no answer while the lease was held".into()),
            }
        }
    }

    /// The log does not end at the expected place: an earlier attempt was stored, or another replica wrote.
    async fn read_outcome(&mut self, message: &Message, until: Moment) -> Attempt {
        let place = self.place.last + 1;
        let limit = until.since(self.clock.moment());
        match self.clock.timeout(limit, self.shared.log.read(place, 1)).await {
            Ok(Ok(found)) => match found.first() {
                Some(stored) if stored.place == place && stored.message == *message => Attempt::Stored,
                Some(_) => {
                    self.in_doubt = false;
                    Attempt::Ended(LeadershipEnd::Fenced { place })
                }
                None => self.check_end(until).await,
            },
            Ok(Err(error)) => Attempt::Again(error.to_string()),
            Err(_) => Attempt::Again("no answer while the lease was held".into()),
        }
    }

    /// Nothing is at the place: a node that is behind answered, or the log has lost what was before it.
    async fn check_end(&mut self, until: Moment) -> Attempt {
        let place = self.place.last;
        let limit = until.since(self.clock.moment());
        if let Ok(Ok(Some(info))) = self.clock.timeout(limit, self.shared.log.info()).await {
            if info.first > place + 1 && info.last > place {
                return Attempt::Ended(LeadershipEnd::Trimmed { place: place + 1 });
            }
            if info.last >= place {
                self.short_since = None;
                return match self.comparison(until).await {
                    Attempt::Stored => Attempt::Again("the end of the shared log is not readable yet".into()),
                    attempt => attempt,
                };
            }
            let now = self.clock.moment();
            let (since, looks) = self.short_since.unwrap_or((now, 0));
            self.short_since = Some((since, looks + 1));
            if now.since(since) >= ROLLBACK_CONFIRMATION && looks >= SHORT_LOOKS_MIN {
                return Attempt::Ended(LeadershipEnd::RolledBack { place, end: info.last });
            }
        }
        Attempt::Again("the end of the shared log is not readable yet".into())
    }

    /// Advances over the stored message, which the own logs have, and announces it to followers.
    pub(super) async fn advance(&mut self, message: &Message, head: &BlockHead) {
        (self.in_doubt, self.short_since) = (false, None);
        self.place.last += 1;
        self.place.acceptance.accept(message, head).expect("it was checked before it was sent");
        self.counted = LastCounted::at(&self.place);
        let tip = Bytes::copy_from_slice(&self.place.last.to_le_bytes());
        // A lost one costs followers a wait.
        self.shared.bus.publish(TIPS, tip).await.ok();
    }
}
