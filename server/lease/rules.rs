//! The rules of the lease: a state machine that decides when to read and write the key. Pure.
//!
//! The caller asks for the next [`LeaseStep`], performs it, and reports the outcome together with the moments at which it
//! was sent and answered. It may be late with either: what counts is when an update was *sent* and a value was *received*.

use std::collections::VecDeque;

use bytes::Bytes;

use super::timing::Timing;
use super::value::{LeaseValue, Replica, Version};
use crate::clock::Moment;
use crate::quorum::{KeyEntry, Revision};

/// Updates whose outcome can still be read. With one per look interval this covers the time to live.
const UPDATES_REMEMBERED: usize = 32;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// Nothing before this moment.
    Wait(Moment),
    /// Read the key.
    Look,
    /// Set the key.
    Write {
        /// The value to be replaced; `None` creates the key.
        expected: Option<Revision>,
        /// The new value.
        value: Bytes,
    },
    /// Nothing any more: the lease was released for good.
    Stop,
}

/// Outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Stored, with this revision.
    Stored(Revision),
    /// Not stored.
    Conflict,
    /// Unknown: it may be stored later.
    Unknown,
}

/// A time during which this replica holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// Distinguishes the tenures of a run.
    pub number: u64,
    /// End, unless the lease is renewed.
    pub until: Moment,
}

impl Tenure {
    /// True if the lease is held at this moment of the own clock.
    pub fn is_held_at(&self, now: Moment) -> bool {
        now < self.until
    }
}

/// A value that a candidate watches.
#[derive(Clone, Debug, PartialEq)]
struct Sighting {
    entry: Option<KeyEntry>,
    /// When it was first received.
    since: Moment,
    /// Share of the maximum jitter, 0 to 1.
    jitter: f64,
}

/// Part of a phase in which the own value is stored.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    /// Revision of the own value, as last known.
    revision: Revision,
    /// What the own value replaced: a stale read can still return it.
    replaced: Option<KeyEntry>,
    /// The key may have another revision: read it before the next write.
    in_doubt: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum LeasePhase {
    /// Watches the key. `ready`: the value of the sighting is to be replaced now.
    Candidate {
        sighting: Option<Sighting>,
        ready: bool,
    },
    /// Holds the lease.
    Holder {
        tenure: Tenure,
        held: Held,
        renewal_at: Moment,
    },
    /// Does not hold it any more, and removes the own value until `until`; then it is a candidate from `rejoin` on.
    Releasing {
        held: Held,
        until: Moment,
        rejoin: Option<Moment>,
    },
    Stopped,
}

/// The lease as one replica sees it.
#[derive(Clone, Debug)]
pub struct LeaseRules {
    timing: Timing,
    own: Replica,
    phase: LeasePhase,
    /// Number of the newest update.
    updates: u64,
    /// When updates were sent, the newest last.
    sent: VecDeque<(u64, Moment)>,
    /// No call before this moment.
    attempt_at: Moment,
    /// When a candidate of a newer version last announced itself.
    newer_at: Option<Moment>,
}

impl LeaseRules {
    /// Returns a candidate.
    pub fn new(timing: Timing, own: Replica) -> Self {
        Self {
            timing,
            own,
            phase: LeasePhase::Candidate { sighting: None, ready: false },
            updates: 0,
            sent: VecDeque::new(),
            attempt_at: Moment::ZERO,
            newer_at: None,
        }
    }

    /// Returns the current tenure. It may have ended: compare it with the time of use.
    pub fn tenure(&self) -> Option<Tenure> {
        match &self.phase {
            LeasePhase::Holder { tenure, .. } => Some(*tenure),
            _ => None,
        }
    }

    /// True if this replica wants the lease and does not hold it.
    pub fn is_candidate(&self) -> bool {
        matches!(self.phase, LeasePhase::Candidate { .. })
    }

    /// True while the own value is being removed.
    pub fn is_releasing(&self) -> bool {
        matches!(self.phase, LeasePhase::Releasing { .. })
    }

    /// Returns what to do at `now`. A [`LeaseStep::Write`] counts as sent at `now`.
    pub fn step(&mut self, now: Moment) -> LeaseStep {
        self.expire(now);
        let paced = now >= self.attempt_at;
        match &self.phase {
            LeasePhase::Stopped => LeaseStep::Stop,
            LeasePhase::Candidate { sighting: Some(sighting), ready: true } => {
                let expected = sighting.entry.as_ref().map(|entry| entry.revision);
                self.update(expected, now)
            }
            LeasePhase::Holder { held: Held { in_doubt: true, .. }, .. }
            | LeasePhase::Releasing { held: Held { in_doubt: true, .. }, .. }
            | LeasePhase::Candidate { .. }
                if paced =>
            {
                self.attempt_at = now.plus(self.timing.look_interval());
                LeaseStep::Look
            }
            LeasePhase::Holder { held: Held { in_doubt: false, revision, .. }, renewal_at, .. }
                if paced && now >= *renewal_at =>
            {
                let revision = *revision;
                self.update(Some(revision), now)
            }
            LeasePhase::Releasing { held: Held { in_doubt: false, revision, .. }, .. } => {
                LeaseStep::Write { expected: Some(*revision), value: Bytes::new() }
            }
            LeasePhase::Holder { tenure, held: Held { in_doubt, .. }, renewal_at } => {
                let next = if *in_doubt { self.attempt_at } else { self.attempt_at.max(*renewal_at) };
                LeaseStep::Wait(next.min(tenure.until))
            }
            LeasePhase::Releasing { until, .. } => LeaseStep::Wait(self.attempt_at.min(*until)),
            LeasePhase::Candidate { .. } => LeaseStep::Wait(self.attempt_at),
        }
    }

    /// Processes a read that was answered at `received`; `jitter` is a random number from 0 to 1.
    pub fn on_look(&mut self, entry: Option<KeyEntry>, received: Moment, jitter: f64) {
        self.expire(received);
        match &mut self.phase {
            LeasePhase::Stopped => {}
            LeasePhase::Candidate { .. } => self.watch(entry, received, jitter),
            LeasePhase::Holder { held, .. } | LeasePhase::Releasing { held, .. } if entry == held.replaced => {
                held.in_doubt = true
            }
            LeasePhase::Holder { tenure, held, renewal_at } => match own_value(&self.own, entry.as_ref()) {
                Some((revision, update)) => {
                    held.revision = revision;
                    held.in_doubt = false;
                    if let Some(sent) = sent_at(&self.sent, update) {
                        tenure.until = tenure.until.max(sent.plus(self.timing.validity()));
                    }
                    *renewal_at = received;
                }
                None => {
                    self.phase = LeasePhase::Candidate { sighting: None, ready: false };
                    self.watch(entry, received, jitter);
                }
            },
            LeasePhase::Releasing { held, rejoin, .. } => match own_value(&self.own, entry.as_ref()) {
                Some((revision, _)) => {
                    held.revision = revision;
                    held.in_doubt = false;
                }
                None => {
                    let rejoin = *rejoin;
                    self.finish(rejoin);
                }
            },
        }
    }

    /// Processes the outcome of a write that was sent at `sent`.
    pub fn on_write(&mut self, outcome: WriteOutcome, sent: Moment) {
        let again_at = sent.plus(self.timing.look_interval());
        let (validity, renewal_interval) = (self.timing.validity(), self.timing.renewal_interval());
        match (&mut self.phase, outcome) {
            (LeasePhase::Stopped, _) => {}
            (LeasePhase::Candidate { sighting, .. }, WriteOutcome::Stored(revision)) => {
                let replaced = sighting.take().and_then(|sighting| sighting.entry);
                let tenure = Tenure { number: self.updates, until: sent.plus(validity) };
                let held = Held { revision, replaced, in_doubt: false };
                self.phase = LeasePhase::Holder { tenure, held, renewal_at: sent.plus(renewal_interval) };
            }
            (LeasePhase::Candidate { ready, .. }, WriteOutcome::Conflict | WriteOutcome::Unknown) => {
                *ready = false;
                self.attempt_at = again_at;
            }
            (LeasePhase::Holder { tenure, held, renewal_at }, WriteOutcome::Stored(revision)) => {
                held.revision = revision;
                tenure.until = tenure.until.max(sent.plus(validity));
                *renewal_at = sent.plus(renewal_interval);
            }
            (LeasePhase::Releasing { rejoin, .. }, WriteOutcome::Stored(_)) => {
                let rejoin = *rejoin;
                self.finish(rejoin);
            }
            (
                LeasePhase::Holder { held, .. } | LeasePhase::Releasing { held, .. },
                WriteOutcome::Conflict | WriteOutcome::Unknown,
            ) => {
                held.in_doubt = true;
                self.attempt_at = again_at;
            }
        }
    }

    /// Processes the announcement of another candidate, received at `received`.
    pub fn on_announcement(&mut self, version: Version, received: Moment) {
        if version > self.own.version {
            self.newer_at = Some(received);
        }
    }

    /// Stops to hold the lease, and empties the key so that another replica takes it at once. Becomes a candidate again
    /// at `rejoin`, if any. `in_flight` is true if a write has no outcome yet: its outcome is not reported any more.
    pub fn release(&mut self, rejoin: Option<Moment>, in_flight: bool) {
        // No earlier update counts any more.
        self.sent.clear();
        match &self.phase {
            LeasePhase::Holder { tenure, held, .. } => {
                let held = Held { in_doubt: held.in_doubt || in_flight, ..held.clone() };
                self.attempt_at = Moment::ZERO;
                self.phase = LeasePhase::Releasing { held, until: tenure.until, rejoin };
            }
            LeasePhase::Releasing { held, until, .. } => {
                self.phase = LeasePhase::Releasing { held: held.clone(), until: *until, rejoin };
            }
            LeasePhase::Candidate { .. } => self.finish(rejoin),
            LeasePhase::Stopped => {}
        }
    }

    /// Ends what has run out.
    fn expire(&mut self, now: Moment) {
        match &self.phase {
            LeasePhase::Holder { tenure, .. } if !tenure.is_held_at(now) => {
                self.phase = LeasePhase::Candidate { sighting: None, ready: false };
            }
            // The other replicas do not wait for more than that.
            LeasePhase::Releasing { until, rejoin, .. } if now >= *until => {
                let rejoin = *rejoin;
                self.finish(rejoin);
            }
            _ => {}
        }
    }

    fn finish(&mut self, rejoin: Option<Moment>) {
        self.phase = match rejoin {
            Some(moment) => {
                self.attempt_at = self.attempt_at.max(moment);
                LeasePhase::Candidate { sighting: None, ready: false }
            }
            None => LeasePhase::Stopped,
        };
    }

    /// A candidate received this value.
    fn watch(&mut self, entry: Option<KeyEntry>, received: Moment, jitter: f64) {
        let own = own_value(&self.own, entry.as_ref());
        if let Some((revision, update)) = own
            && let Some(sent) = sent_at(&self.sent, update)
            && received < sent.plus(self.timing.validity())
        {
            // A bid or renewal of unknown outcome was stored.
            let tenure = Tenure { number: update, until: sent.plus(self.timing.validity()) };
            let held = Held { revision, replaced: None, in_doubt: false };
            self.phase = LeasePhase::Holder { tenure, held, renewal_at: received };
            return;
        }
        let LeasePhase::Candidate { sighting, ready } = &mut self.phase else { return };
        let sighting = match sighting.take() {
            Some(known) if known.entry == entry => sighting.insert(known),
            _ => sighting.insert(Sighting { entry, since: received, jitter }),
        };
        let is_held = sighting.entry.as_ref().is_some_and(|entry| !entry.value.is_empty());
        // No other replica replaces a value of ours before it has stood for the whole time to live; we may at once.
        let mut bid_at = match (is_held, own) {
            (true, None) => sighting.since.plus(self.timing.ttl() + self.timing.jitter_max().mul_f64(sighting.jitter)),
            _ => sighting.since,
        };
        let is_newer_there = self.newer_at.is_some_and(|at| received.since(at) <= self.timing.announcement_age_max());
        if is_newer_there && own.is_none() {
            bid_at = bid_at.plus(self.timing.deference_max());
        }
        *ready = received >= bid_at;
    }

    /// Returns the next update.
    fn update(&mut self, expected: Option<Revision>, now: Moment) -> LeaseStep {
        self.updates += 1;
        self.attempt_at = now.plus(self.timing.look_interval());
        self.sent.push_back((self.updates, now));
        if self.sent.len() > UPDATES_REMEMBERED {
            self.sent.pop_front();
        }
        let value = LeaseValue { replica: self.own.clone(), update: self.updates };
        LeaseStep::Write { expected, value: value.encode() }
    }
}

/// Returns revision and update of a value that this run wrote.
fn own_value(own: &Replica, entry: Option<&KeyEntry>) -> Option<(Revision, u64)> {
    let entry = entry?;
    let value = LeaseValue::decode(&entry.value)?;
    (value.replica.name == own.name && value.replica.run == own.run).then_some((entry.revision, value.update))
}

fn sent_at(sent: &VecDeque<(u64, Moment)>, update: u64) -> Option<Moment> {
    sent.iter().find(|(number, _)| *number == update).map(|(_, moment)| *moment)
}
