//! What a connection brings, from its first byte to its end, and what the ledger is told of it.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;

use super::{Outcome, Place, Session};
use crate::clock::Moment;
use crate::hub::upstream::{NewsKind, State, Status};
use crate::ingest::Metrics;
use crate::ingest::ledger::Answer;
use crate::ingest::queue::Source;
use crate::model::{GapCause, UnixMillis};
use crate::upstream::{self, Arrivals, EndCause, Event, Message};
use crate::xapi::BackfillMinutes;

/// How the reading of one connection went so far.
#[derive(Default)]
struct Reading {
    /// Its first sign of life came.
    begun: bool,
    /// When the reader was last held up.
    held_up: Option<Moment>,
}

/// Counts a connection as long as it is there.
pub(super) struct Up(Gauge);

impl Up {
    pub(super) fn new(metrics: &Metrics) -> Self {
        metrics.upstream_connected.inc();
        Self(metrics.upstream_connected.clone())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A reader waits no longer than this at a time: if it did, the whole process was stopped.
const PULSE: Duration = Duration::from_secs(5);
/// How long after the reader was held up an end is still taken for its consequence: X's buffer is that of a minute or two
/// of a stream at the least (an assumption; X names no size).
const HELD_UP_MEMORY: Duration = Duration::from_secs(60);

async fn unavailable(status: &mut watch::Receiver<Status>) {
    // The hub, and with it the sender, lives as long as a session.
    let _ = status.wait_for(|status| status.journal_unavailable).await;
}

/// Rubbish, and a message that does not end, say nothing of the posts of their time: they count as silence does for the
/// watchdog. Else a hole would be taken for closed by a 200 with a web page, or begin after what it lacks.
fn is_sign_of_life(arrivals: &Arrivals) -> bool {
    let whole = |message: &Message| !matches!(message, Message::Malformed { .. });
    arrivals.heartbeats > 0 || arrivals.messages.iter().any(whole)
}

fn created_at(message: &Message) -> Option<UnixMillis> {
    match message {
        Message::Post(post) => post.id.created_at(),
        _ => None,
    }
}

impl Session {
    /// Hands on what the connection brings, until it ends, and has its hole told.
    pub(super) async fn follow(&mut self, connection: upstream::Connection, answer: Answer) -> Outcome {
        let info = connection.info();
        tracing::info!(
            account = %self.hub.account(), datacenter = info.datacenter, skew_ms = info.skew_ms,
            backfill_minutes = answer.backfill.map(BackfillMinutes::get), "connected",
        );
        self.told = Some((NewsKind::Connected, ""));
        self.probed = false;
        let Place { lane, connection: number } = self.place;
        self.hub.upstream().update(|status| {
            status.set(lane, number, State::Connected);
            status.tell(NewsKind::Connected, "the upstream connection is up".into());
        });
        let mut reading = Reading::default();
        let outcome = self.read(connection, answer, &mut reading).await;
        let cause = match &outcome {
            Outcome::JournalUnavailable => GapCause::JournalUnavailable,
            Outcome::Ended { cause, .. } => self.gap_cause(cause, &reading),
            Outcome::Unwanted => return outcome,
        };
        self.ledger.cut(self.place.lane, self.place.connection, cause);
        if self.queue.log_gaps().await { outcome } else { Outcome::Unwanted }
    }

    async fn read(&self, mut connection: upstream::Connection, answer: Answer, reading: &mut Reading) -> Outcome {
        let mut status = self.hub.upstream().watch();
        let mut due = std::pin::pin!(self.due());
        loop {
            let before = self.clock.moment();
            // What comes by backfill changes what is due; else one timer serves for a pulse of posts.
            if self.ledger.next_due().is_some() {
                due.set(self.due());
            }
            let event = tokio::select! {
                event = connection.next() => event,
                // X would cut a connection that is not read, and there would be no backfill then.
                () = unavailable(&mut status) => return Outcome::JournalUnavailable,
                () = &mut due => {
                    due.set(self.due());
                    self.note_held_up(before, PULSE, reading);
                    if self.ledger.tick(self.clock.now()) && !self.queue.log_gaps().await {
                        return Outcome::Unwanted;
                    }
                    continue;
                }
            };
            self.note_held_up(before, PULSE, reading);
            match event {
                Event::Arrivals(arrivals) => {
                    if !self.hand_on(arrivals, answer, reading).await {
                        return Outcome::Unwanted;
                    }
                }
                Event::End(end) => {
                    if end.partial_bytes > 0 {
                        self.metrics.messages_in.inc();
                        self.metrics.partial.inc();
                    }
                    return Outcome::Ended { cause: end.cause, healthy_for: Some(end.healthy_for) };
                }
            }
        }
    }

    /// Until the ledger has something to look at, or for a pulse.
    async fn due(&self) {
        let due = self.ledger.next_due().map(|due| due.since(self.clock.now()));
        self.clock.sleep(due.map_or(PULSE, |due| due.min(PULSE))).await;
    }

    /// Takes note if what began at `before` took so much longer than `allowed` that X may have missed its reader.
    fn note_held_up(&self, before: Moment, allowed: Duration, reading: &mut Reading) {
        let now = self.clock.moment();
        if now.since(before) >= allowed.saturating_add(self.ledger.held_up_min()) {
            reading.held_up = Some(now);
        }
    }

    /// Puts what came into the queue, behind what it changes about gaps. False if nobody takes it.
    async fn hand_on(&self, arrivals: Arrivals, answer: Answer, reading: &mut Reading) -> bool {
        let Place { lane, connection } = self.place;
        let alive = is_sign_of_life(&arrivals);
        if alive && !std::mem::replace(&mut reading.begun, true) {
            self.ledger.first_byte(lane, connection, answer, arrivals.received);
            if !self.queue.log_gaps().await {
                return false;
            }
        }
        let created: Vec<_> = arrivals.messages.iter().filter_map(created_at).collect();
        // Of full copies each that asked brings a backfill; the ledger follows that of the first.
        let asked = answer.backfill.map(|_| answer.at);
        let backfill_before = self.ledger.backfill_before(lane, connection).or(asked);
        if alive {
            self.ledger.heard(lane, connection, arrivals.received, &created);
        }
        self.metrics.messages_in.inc_by(arrivals.messages.len() as u64);
        let source = Source::Live { connection, backfill_before };
        let began = self.clock.moment();
        let taken = self.queue.put(arrivals, source, began).await;
        self.note_held_up(began, Duration::ZERO, reading);
        taken
    }

    /// A reader that was held up is cut as a slow one, and X need not say so.
    fn gap_cause(&self, cause: &EndCause, reading: &Reading) -> GapCause {
        let held_up = reading.held_up.is_some_and(|at| self.clock.moment().since(at) < HELD_UP_MEMORY);
        match cause {
            EndCause::SlowReader => GapCause::SlowReader,
            EndCause::Stale => GapCause::Stale,
            EndCause::Cut(_) | EndCause::CleanEof if held_up => GapCause::SlowReader,
            _ => GapCause::Disconnected,
        }
    }
}
