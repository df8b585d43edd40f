//! What a connection brings, from its first byte to its end, and what the gap tracker is told of it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;

use super::turns::ReadTurns;
use super::{ConnectOutcome, ConnectionId, ConnectionSupervisor};
use crate::clock::Moment;
use crate::hub::status::upstream_status::{UpstreamNoticeKind, UpstreamState, UpstreamStatus};
use crate::ingest::gap_tracker::{Heard, StreamResponse};
use crate::ingest::queue::IngestSource;
use crate::model::{GapCause, UnixMillis};
use crate::upstream::message::ControlMessage;
use crate::upstream::{self, ConnectionEvent, DisconnectCause, MessageBatch, UpstreamMessage};
use crate::xapi::BackfillMinutes;

/// How the reading of one connection went so far.
struct ReadLoopState {
    /// Its first sign of life came.
    begun: bool,
    /// It is reported as connected.
    announced: bool,
    /// When the reader was last held up.
    stalled: Option<Moment>,
    /// Names of the control messages that came.
    controls: BTreeSet<&'static str>,
    /// When subscribers were last told of withheld posts.
    limit_told: Option<Moment>,
    turns: ReadTurns,
}

/// What a reader's wait ended with.
enum Wait {
    /// Something came.
    Event(ConnectionEvent),
    /// The journal cannot be written.
    Unavailable,
    /// The gap tracker may have something to look at.
    Pulse,
    /// All that had waited in the socket is read.
    CaughtUp,
}

/// Subscribers are told of withheld posts no more often.
const LIMIT_INTERVAL: Duration = Duration::from_secs(10);
/// A reader waits no longer than this at a time: if more passed, it was stopped.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// After a stop: what is in the socket comes within this time, for the reader's thread also drives the socket.
const CATCH_UP: Duration = Duration::from_millis(100);
/// How long after the reader was held up an end is still taken for its consequence: X's buffer is that of a minute or two
/// of a stream at the least (an assumption; X names no size).
const STALL_ATTRIBUTION_WINDOW: Duration = Duration::from_secs(60);

async fn unavailable(status: &mut watch::Receiver<UpstreamStatus>) {
    // The hub, and with it the sender, lives as long as a session.
    let _ = status.wait_for(|status| status.journal_unavailable).await;
}

fn created_at(message: &UpstreamMessage) -> Option<UnixMillis> {
    match message {
        UpstreamMessage::Post(post) => post.id.created_at(),
        _ => None,
    }
}

impl ConnectionSupervisor {
    /// Hands on what the connection brings, until it ends, and has its hole told.
    pub(super) async fn follow(&mut self, connection: upstream::Connection, answer: StreamResponse) -> ConnectOutcome {
        let info = connection.info();
        tracing::info!(
            account = %self.hub.account(), datacenter = info.datacenter, skew_ms = info.skew_ms,
            transaction_id = info.transaction_id,
            backfill_minutes = answer.backfill.map(BackfillMinutes::get), "connected",
        );
        self.probed = false;
        let turns = ReadTurns::new(self.tracker.reader_stall_min(), self.clock.moment(), self.clock.now());
        let mut reading = ReadLoopState {
            begun: false,
            announced: self.answers_live,
            stalled: None,
            controls: BTreeSet::new(),
            limit_told: None,
            turns,
        };
        if reading.announced {
            self.report_connected();
        }
        let outcome = self.read(connection, answer, &mut reading).await;
        if reading.announced {
            self.told = Some((UpstreamNoticeKind::Connected, ""));
        }
        if matches!(outcome, ConnectOutcome::Ended { .. }) {
            self.answers_live = reading.begun;
        }
        let cause = match &outcome {
            ConnectOutcome::JournalUnavailable => GapCause::JournalUnavailable,
            ConnectOutcome::Ended { cause, .. } => self.gap_cause(cause, &reading),
            ConnectOutcome::IngestClosed => return outcome,
        };
        self.tracker.on_disconnect(self.place.feed, self.place.connection, cause);
        if self.queue.log_gaps().await { outcome } else { ConnectOutcome::IngestClosed }
    }

    /// The connection is up: X answered, and after an answer that was followed by no sign of life, gave one.
    fn report_connected(&self) {
        let ConnectionId { feed, connection } = self.place;
        self.hub.upstream().update(|status| {
            status.set(feed, connection, UpstreamState::Connected);
            status.notify(UpstreamNoticeKind::Connected, "the upstream connection is up".into());
        });
    }

    /// Returns the outcome of a connection that has ended, and counts the message that it left incomplete.
    fn ended(&self, end: upstream::ConnectionEnd) -> ConnectOutcome {
        if end.partial_bytes > 0 {
            self.metrics.messages_in.inc();
            self.metrics.partial.inc();
        }
        ConnectOutcome::Ended { cause: end.cause, words: end.words, healthy_for: Some(end.healthy_for) }
    }

    async fn read(
        &self,
        mut connection: upstream::Connection,
        answer: StreamResponse,
        reading: &mut ReadLoopState,
    ) -> ConnectOutcome {
        let mut status = self.hub.upstream().watch();
        let mut due = std::pin::pin!(self.wait_tick());
        let mut reads_first = false;
        loop {
            self.take_turn(Duration::ZERO, reading);
            // What comes by backfill changes what is due; else one timer serves for a pulse of posts.
            if self.next_due().is_some() {
                due.set(self.wait_tick());
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
            let stopped = self.take_turn(POLL_INTERVAL, reading);
            match wait {
                Wait::Unavailable => return ConnectOutcome::JournalUnavailable,
                // The wait may have been over before the socket was looked at.
                Wait::CaughtUp if stopped => {}
                Wait::CaughtUp => reading.turns.caught_up(),
                Wait::Pulse => {
                    due.set(self.wait_tick());
                    if !stopped && !self.tick().await {
                        return ConnectOutcome::IngestClosed;
                    }
                }
                Wait::Event(ConnectionEvent::Arrivals(arrivals)) => {
                    if !self.enqueue(arrivals, answer, reading).await {
                        return ConnectOutcome::IngestClosed;
                    }
                }
                Wait::Event(ConnectionEvent::End(end)) => {
                    return self.ended(end);
                }
            }
        }
    }

    /// Lets the gap tracker close what is quiet. False if nobody takes what that changes.
    async fn tick(&self) -> bool {
        let ConnectionId { feed, connection } = self.place;
        !self.tracker.tick(feed, connection, self.clock.now()) || self.queue.log_gaps().await
    }

    fn next_due(&self) -> Option<UnixMillis> {
        self.tracker.next_deadline(self.place.feed, self.place.connection)
    }

    /// Until the gap tracker has something to look at, or for a pulse.
    async fn wait_tick(&self) {
        let due = self.next_due().map(|due| due.since(self.clock.now()));
        self.clock.sleep(due.map_or(POLL_INTERVAL, |due| due.min(POLL_INTERVAL))).await;
    }

    /// Takes a turn after a wait of at most `allowed`. True if the reader was stopped since the turn before, for so long that
    /// X may have missed it.
    fn take_turn(&self, allowed: Duration, reading: &mut ReadLoopState) -> bool {
        let now = self.clock.moment();
        let Some(stopped) = reading.turns.take(now, self.clock.now(), allowed) else { return false };
        reading.stalled = Some(now);
        self.tracker.stopped(self.place.feed, self.place.connection, stopped);
        tracing::warn!(account = %self.hub.account(), ?stopped, "upstream reader was stopped");
        true
    }

    /// Puts what came into the queue, behind what it changes about gaps. False if nobody takes it.
    async fn enqueue(&self, mut arrivals: MessageBatch, answer: StreamResponse, reading: &mut ReadLoopState) -> bool {
        let ConnectionId { feed, connection } = self.place;
        let alive = arrivals.is_sign_of_life();
        if alive && !std::mem::replace(&mut reading.begun, true) {
            if !std::mem::replace(&mut reading.announced, true) {
                self.report_connected();
            }
            self.tracker.first_byte(feed, connection, answer, arrivals.received);
            if !self.queue.log_gaps().await {
                return false;
            }
        }
        let controls = arrivals.messages.iter().filter_map(|message| match message {
            UpstreamMessage::Control(control) => Some(control),
            _ => None,
        });
        controls.for_each(|control| self.show(control, reading));
        let created: Vec<_> = arrivals.messages.iter().filter_map(created_at).collect();
        let read = arrivals.received;
        arrivals.received = reading.turns.stamp(read, created.iter().max().copied());
        // Of redundant connections each that asked brings a backfill.
        let asked = answer.backfill.map(|_| answer.at);
        let backfill_before = self.tracker.backfill_before(feed, connection).or(asked);
        if alive {
            self.tracker.heard(feed, connection, Heard { stamp: arrivals.received, read }, &created);
        }
        self.metrics.messages_in.inc_by(arrivals.messages.len() as u64);
        let late = self.tracker.late(arrivals.received);
        let source = IngestSource::Live { connection, backfill_before, late };
        self.queue.send(arrivals, source, self.clock.moment()).await
    }

    /// Logs what X says about the stream, each kind once for a connection, and announces posts that X withheld.
    fn show(&self, control: &ControlMessage, reading: &mut ReadLoopState) {
        let account = self.hub.account();
        if reading.controls.insert(control.name()) {
            let (name, shown) = (control.name(), format!("{control:?}"));
            match control {
                ControlMessage::ConnectionMetadata { .. } | ControlMessage::Info { .. } => {
                    tracing::info!(%account, kind = name, message = shown, "upstream control message received");
                }
                ControlMessage::Warning { .. } | ControlMessage::Fault { .. } | ControlMessage::Limit { .. } => {
                    tracing::warn!(%account, kind = name, message = shown, "upstream control message received");
                }
            }
        }
        let ControlMessage::Limit { track } = control else { return };
        let now = self.clock.moment();
        if reading.limit_told.is_some_and(|at| now.since(at) < LIMIT_INTERVAL) {
            return;
        }
        reading.limit_told = Some(now);
        let posts = track.map_or("posts".to_owned(), |track| format!("{track} posts"));
        let text = format!("X withheld {posts} that matched, since the upstream connection was made");
        self.hub.upstream().update(|status| status.notify(UpstreamNoticeKind::Limited, text));
    }

    /// A reader that was held up is cut as a slow one, and X need not say so.
    fn gap_cause(&self, cause: &DisconnectCause, reading: &ReadLoopState) -> GapCause {
        let held_up = reading.stalled.is_some_and(|at| self.clock.moment().since(at) < STALL_ATTRIBUTION_WINDOW);
        match cause {
            DisconnectCause::SlowReader => GapCause::SlowReader,
            DisconnectCause::Cut(_) | DisconnectCause::CleanEof | DisconnectCause::Stale if held_up => {
                GapCause::SlowReader
            }
            DisconnectCause::Stale => GapCause::Stale,
            DisconnectCause::TooManyConnections => GapCause::TooManyConnections,
            DisconnectCause::UsageCapped => GapCause::UsageCapped,
            DisconnectCause::InvalidRules => GapCause::InvalidRules,
            _ => GapCause::Disconnected,
        }
    }
}
