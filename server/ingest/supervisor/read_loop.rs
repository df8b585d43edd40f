//! What a connection brings, from its first byte to its end, and what the ledger is told of it.

use std::collections::BTreeSet;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;

use super::turns::Turns;
use super::{Outcome, Place, Session};
use crate::clock::Moment;
use crate::hub::status::upstream_status::{NewsKind, State, Status};
use crate::ingest::Metrics;
use crate::ingest::gap_tracker::{Answer, Heard};
use crate::ingest::queue::Source;
use crate::model::{GapCause, UnixMillis};
use crate::upstream::message::Control;
use crate::upstream::{self, Arrivals, EndCause, Event, Message};
use crate::xapi::BackfillMinutes;

/// How the reading of one connection went so far.
struct Reading {
    /// Its first sign of life came.
    begun: bool,
    /// It is reported as connected.
    announced: bool,
    /// When the reader was last held up.
    held_up: Option<Moment>,
    /// Names of the control messages that came.
    controls: BTreeSet<&'static str>,
    /// When subscribers were last told of withheld posts.
    limit_told: Option<Moment>,
    turns: Turns,
}

/// What a reader's wait ended with.
enum Wait {
    /// Something came.
    Event(Event),
    /// The journal cannot be written.
    Unavailable,
    /// The ledger may have something to look at.
    Pulse,
    /// All that had waited in the socket is read.
    CaughtUp,
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

/// Subscribers are told of withheld posts no more often.
const LIMIT_INTERVAL: Duration = Duration::from_secs(10);
/// A reader waits no longer than this at a time: if more passed, it was stopped.
const PULSE: Duration = Duration::from_secs(1);
/// After a stop: what is in the socket comes within this time, for the reader's thread also drives the socket.
const CATCH_UP: Duration = Duration::from_millis(100);
/// How long after the reader was held up an end is still taken for its consequence: X's buffer is that of a minute or two
/// of a stream at the least (an assumption; X names no size).
const HELD_UP_MEMORY: Duration = Duration::from_secs(60);

async fn unavailable(status: &mut watch::Receiver<Status>) {
    // The hub, and with it the sender, lives as long as a session.
    let _ = status.wait_for(|status| status.journal_unavailable).await;
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
        self.probed = false;
        let turns = Turns::new(self.ledger.held_up_min(), self.clock.moment(), self.clock.now());
        let mut reading = Reading {
            begun: false,
            announced: self.answers_live,
            held_up: None,
            controls: BTreeSet::new(),
            limit_told: None,
            turns,
        };
        if reading.announced {
            self.report_connected();
        }
        let outcome = self.read(connection, answer, &mut reading).await;
        if reading.announced {
            self.told = Some((NewsKind::Connected, ""));
        }
        if matches!(outcome, Outcome::Ended { .. }) {
            self.answers_live = reading.begun;
        }
        let cause = match &outcome {
            Outcome::JournalUnavailable => GapCause::JournalUnavailable,
            Outcome::Ended { cause, .. } => self.gap_cause(cause, &reading),
            Outcome::Unwanted => return outcome,
        };
        self.ledger.cut(self.place.feed, self.place.connection, cause);
        if self.queue.log_gaps().await { outcome } else { Outcome::Unwanted }
    }

    /// The connection is up: X answered, and after an answer that was followed by no sign of life, gave one.
    fn report_connected(&self) {
        let Place { feed, connection } = self.place;
        self.hub.upstream().update(|status| {
            status.set(feed, connection, State::Connected);
            status.tell(NewsKind::Connected, "the upstream connection is up".into());
        });
    }

    async fn read(&self, mut connection: upstream::Connection, answer: Answer, reading: &mut Reading) -> Outcome {
        let mut status = self.hub.upstream().watch();
        let mut due = std::pin::pin!(self.due());
        let mut reads_first = false;
        loop {
            self.take_turn(Duration::ZERO, reading);
            // What comes by backfill changes what is due; else one timer serves for a pulse of posts.
            if self.next_due().is_some() {
                due.set(self.due());
            }
            let wait = if reading.turns.is_behind() {
                tokio::select! {
                    biased;
                    () = unavailable(&mut status) => Wait::Unavailable,
                    event = connection.next() => Wait::Event(event),
                    () = self.clock.sleep(CATCH_UP) => Wait::CaughtUp,
                }
            } else {
                // Neither may keep the other waiting: a peer may flood, and a pulse may be due at once, again and again.
                reads_first = !reads_first;
                if reads_first {
                    tokio::select! {
                        biased;
                        // X would cut a connection that is not read, and there would be no backfill then.
                        () = unavailable(&mut status) => Wait::Unavailable,
                        event = connection.next() => Wait::Event(event),
                        () = &mut due => Wait::Pulse,
                    }
                } else {
                    tokio::select! {
                        biased;
                        () = unavailable(&mut status) => Wait::Unavailable,
                        () = &mut due => Wait::Pulse,
                        event = connection.next() => Wait::Event(event),
                    }
                }
            };
            let stopped = self.take_turn(PULSE, reading);
            match wait {
                Wait::Unavailable => return Outcome::JournalUnavailable,
                // The wait may have been over before the socket was looked at.
                Wait::CaughtUp if stopped => {}
                Wait::CaughtUp => reading.turns.caught_up(),
                Wait::Pulse => {
                    due.set(self.due());
                    if !stopped && !self.tick().await {
                        return Outcome::Unwanted;
                    }
                }
                Wait::Event(Event::Arrivals(arrivals)) => {
                    if !self.hand_on(arrivals, answer, reading).await {
                        return Outcome::Unwanted;
                    }
                }
                Wait::Event(Event::End(end)) => {
                    if end.partial_bytes > 0 {
                        self.metrics.messages_in.inc();
                        self.metrics.partial.inc();
                    }
                    return Outcome::Ended { cause: end.cause, words: end.words, healthy_for: Some(end.healthy_for) };
                }
            }
        }
    }

    /// Lets the ledger close what is quiet. False if nobody takes what that changes.
    async fn tick(&self) -> bool {
        let Place { feed, connection } = self.place;
        !self.ledger.tick(feed, connection, self.clock.now()) || self.queue.log_gaps().await
    }

    fn next_due(&self) -> Option<UnixMillis> {
        self.ledger.next_due(self.place.feed, self.place.connection)
    }

    /// Until the ledger has something to look at, or for a pulse.
    async fn due(&self) {
        let due = self.next_due().map(|due| due.since(self.clock.now()));
        self.clock.sleep(due.map_or(PULSE, |due| due.min(PULSE))).await;
    }

    /// Takes a turn after a wait of at most `allowed`. True if the reader was stopped since the turn before, for so long that
    /// X may have missed it.
    fn take_turn(&self, allowed: Duration, reading: &mut Reading) -> bool {
        let now = self.clock.moment();
        let Some(stopped) = reading.turns.take(now, self.clock.now(), allowed) else { return false };
        reading.held_up = Some(now);
        self.ledger.stopped(self.place.feed, self.place.connection, stopped);
        tracing::warn!(account = %self.hub.account(), ?stopped, "upstream reader was stopped");
        true
    }

    /// Puts what came into the queue, behind what it changes about gaps. False if nobody takes it.
    async fn hand_on(&self, mut arrivals: Arrivals, answer: Answer, reading: &mut Reading) -> bool {
        let Place { feed, connection } = self.place;
        let alive = arrivals.is_sign_of_life();
        if alive && !std::mem::replace(&mut reading.begun, true) {
            if !std::mem::replace(&mut reading.announced, true) {
                self.report_connected();
            }
            self.ledger.first_byte(feed, connection, answer, arrivals.received);
            if !self.queue.log_gaps().await {
                return false;
            }
        }
        let controls = arrivals.messages.iter().filter_map(|message| match message {
            Message::Control(control) => Some(control),
            _ => None,
        });
        controls.for_each(|control| self.show(control, reading));
        let created: Vec<_> = arrivals.messages.iter().filter_map(created_at).collect();
        let read = arrivals.received;
        arrivals.received = reading.turns.stamp(read, created.iter().max().copied());
        // Of redundant connections each that asked brings a backfill.
        let asked = answer.backfill.map(|_| answer.at);
        let backfill_before = self.ledger.backfill_before(feed, connection).or(asked);
        if alive {
            self.ledger.heard(feed, connection, Heard { stamp: arrivals.received, read }, &created);
        }
        self.metrics.messages_in.inc_by(arrivals.messages.len() as u64);
        let late = self.ledger.late(arrivals.received);
        let source = Source::Live { connection, backfill_before, late };
        self.queue.put(arrivals, source, self.clock.moment()).await
    }

    /// Logs what X says about the stream, each kind once for a connection, and announces posts that X withheld.
    fn show(&self, control: &Control, reading: &mut Reading) {
        let account = self.hub.account();
        if reading.controls.insert(control.name()) {
            let (name, shown) = (control.name(), format!("{control:?}"));
            match control {
                Control::ConnectionMetadata { .. } | Control::Info { .. } => {
                    tracing::info!(%account, kind = name, message = shown, "upstream control message received");
                }
                Control::Warning { .. } | Control::Fault { .. } | Control::Limit { .. } => {
                    tracing::warn!(%account, kind = name, message = shown, "upstream control message received");
                }
            }
        }
        let Control::Limit { track } = control else { return };
        let now = self.clock.moment();
        if reading.limit_told.is_some_and(|at| now.since(at) < LIMIT_INTERVAL) {
            return;
        }
        reading.limit_told = Some(now);
        let posts = track.map_or("posts".to_owned(), |track| format!("{track} posts"));
        let text = format!("X withheld {posts} that matched, since the upstream connection was made");
        self.hub.upstream().update(|status| status.tell(NewsKind::Limited, text));
    }

    /// A reader that was held up is cut as a slow one, and X need not say so.
    fn gap_cause(&self, cause: &EndCause, reading: &Reading) -> GapCause {
        let held_up = reading.held_up.is_some_and(|at| self.clock.moment().since(at) < HELD_UP_MEMORY);
        match cause {
            EndCause::SlowReader => GapCause::SlowReader,
            EndCause::Cut(_) | EndCause::CleanEof | EndCause::Stale if held_up => GapCause::SlowReader,
            EndCause::Stale => GapCause::Stale,
            EndCause::TooManyConnections => GapCause::TooManyConnections,
            EndCause::UsageCapped => GapCause::UsageCapped,
            EndCause::InvalidRules => GapCause::InvalidRules,
            _ => GapCause::Disconnected,
        }
    }
}
