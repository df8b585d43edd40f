//! The read loop of a connection, from its first byte to its end, and its reports to the gap tracker.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;

use super::turns::ReadTurns;
use super::{ConnectOutcome, ConnectionId, ConnectionSupervisor};
use crate::clock::Moment;
use crate::hub::status::upstream_status::{UpstreamNoticeKind, UpstreamState, UpstreamStatus};
use crate::ingest::gap_tracker::{ReceiveTime, StreamResponse};
use crate::ingest::queue::IngestSource;
use crate::model::{GapCause, UnixMillis};
use crate::telemetry::stages::{Stage, StageStamp};
use crate::upstream::message::ControlMessage;
use crate::upstream::{self, ConnectionEvent, DisconnectCause, MessageBatch, UpstreamMessage};
use crate::xapi::BackfillMinutes;

/// State of the read loop of one connection.
struct ReadLoopState {
    /// The first sign of life arrived.
    begun: bool,
    /// The connection is reported as connected.
    announced: bool,
    /// Last stall of the reader.
    stalled: Option<Moment>,
    /// Names of the received control messages.
    controls: BTreeSet<&'static str>,
    /// Last announcement of withheld posts.
    limit_announced: Option<Moment>,
    /// The connection is reported as receiving a backfill.
    backfills: bool,
    turns: ReadTurns,
}

/// Result of a wait of the reader.
enum Wait {
    /// A connection event.
    Event(ConnectionEvent),
    /// The journal cannot be written.
    Unavailable,
    /// The gap tracker may have work to do.
    Pulse,
    /// Everything that waited in the socket is read.
    CaughtUp,
}

/// Minimum interval between announcements of withheld posts.
const LIMIT_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum duration of a single wait: if more time passed, the reader was stalled.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// After a stall, everything in the socket arrives within this time, because the reader's thread also drives the
/// socket.
const CATCH_UP: Duration = Duration::from_millis(100);
/// After a stall of the reader, a disconnect within this time is treated as its consequence: X's buffer contains one or
/// two minutes of a stream at least (an assumption; X documents no size).
const STALL_ATTRIBUTION_WINDOW: Duration = Duration::from_secs(60);

async fn unavailable(status: &mut watch::Receiver<UpstreamStatus>) {
    // The hub, and with it the sender, outlives the supervisor.
    let _ = status.wait_for(|status| status.journal_unavailable).await;
}

fn created_at(message: &UpstreamMessage) -> Option<UnixMillis> {
    match message {
        UpstreamMessage::Post(post) => post.id.created_at(),
        _ => None,
    }
}

impl ConnectionSupervisor {
    /// Forwards the messages of the connection until it ends, and has its gap logged.
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
            limit_announced: None,
            backfills: false,
            turns,
        };
        if reading.announced {
            self.report_connected();
        }
        let outcome = self.read(connection, answer, &mut reading).await;
        self.report_backfill(false, &mut reading);
        if reading.announced {
            self.last_notice = Some((UpstreamNoticeKind::Connected, ""));
        }
        if matches!(outcome, ConnectOutcome::Ended { .. }) {
            self.answers_live = reading.begun;
        }
        let cause = match &outcome {
            ConnectOutcome::JournalUnavailable => GapCause::JournalUnavailable,
            ConnectOutcome::Ended { cause, .. } => self.gap_cause(cause, &reading),
            ConnectOutcome::IngestClosed => return outcome,
        };
        let hold = self.tracker.on_disconnect(self.place.feed, self.place.connection, cause);
        if self.queue.log_disconnect(hold).await { outcome } else { ConnectOutcome::IngestClosed }
    }

    /// Reports the connection as connected: X answered, and showed a sign of life if its last response was not followed
    /// by one.
    fn report_connected(&self) {
        let ConnectionId { feed, connection } = self.place;
        self.hub.upstream().update(|status| {
            status.set(feed, connection, UpstreamState::Connected);
            status.notify(UpstreamNoticeKind::Connected, "upstream connection established".into());
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
            // Backfilled posts change the deadline; otherwise one timer serves for an interval of posts.
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
                // Neither branch may starve the other: a peer may flood, and a poll may be due immediately, repeatedly.
                reads_first = !reads_first;
                if reads_first {
                    tokio::select! {
                        biased;
                        // X would disconnect an unread connection as a slow reader, and then send no backfill.
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
                // The timer may have fired before the socket was polled.
                Wait::CaughtUp if stopped => {}
                Wait::CaughtUp => reading.turns.caught_up(),
                Wait::Pulse => {
                    due.set(self.wait_tick());
                    if !stopped && !self.tick().await {
                        return ConnectOutcome::IngestClosed;
                    }
                    self.report_backfill(self.backfill_before().is_some(), reading);
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

    /// Lets the gap tracker close quiet backfills. Returns false if the queue is closed.
    async fn tick(&self) -> bool {
        let ConnectionId { feed, connection } = self.place;
        !self.tracker.tick(feed, connection, self.clock.now()) || self.queue.log_gaps().await
    }

    fn backfill_before(&self) -> Option<UnixMillis> {
        self.tracker.backfill_before(self.place.feed, self.place.connection)
    }

    fn report_backfill(&self, backfills: bool, reading: &mut ReadLoopState) {
        if std::mem::replace(&mut reading.backfills, backfills) != backfills {
            self.hub.upstream().set_backfill(self.place.connection, backfills);
        }
    }

    fn next_due(&self) -> Option<UnixMillis> {
        self.tracker.next_deadline(self.place.feed, self.place.connection)
    }

    /// Waits until the gap tracker has work to do, or for one interval.
    async fn wait_tick(&self) {
        let due = self.next_due().map(|due| due.since(self.clock.now()));
        self.clock.sleep(due.map_or(POLL_INTERVAL, |due| due.min(POLL_INTERVAL))).await;
    }

    /// Records a poll after a wait of at most `allowed`. Returns true if the reader was stalled since the previous
    /// poll, for so long that X may have disconnected it.
    fn take_turn(&self, allowed: Duration, reading: &mut ReadLoopState) -> bool {
        let now = self.clock.moment();
        let Some(stopped) = reading.turns.take(now, self.clock.now(), allowed) else { return false };
        reading.stalled = Some(now);
        self.tracker.stopped(self.place.feed, self.place.connection, stopped);
        tracing::warn!(account = %self.hub.account(), ?stopped, "upstream reader was stalled");
        true
    }

    /// Sends arrivals to the queue, after the gap changes that they cause. Returns false if the queue is closed.
    async fn enqueue(&self, mut arrivals: MessageBatch, answer: StreamResponse, reading: &mut ReadLoopState) -> bool {
        let began = StageStamp::now();
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
        let stamp = reading.turns.stamp(read, created.iter().max().copied(), |moment| self.clock.at(moment));
        arrivals.received = stamp.date;
        // Each redundant connection that requested a backfill gets one.
        let asked = answer.backfill.map(|_| answer.at);
        let backfill_before = self.backfill_before();
        self.report_backfill(backfill_before.is_some(), reading);
        let backfill_before = backfill_before.or(asked);
        if alive {
            self.tracker.record_data(feed, connection, ReceiveTime { stamp: arrivals.received, read }, &created);
        }
        self.metrics.count_arrivals(arrivals.messages.len());
        let late = self.tracker.late(arrivals.received);
        let (age, stalled) = (read.since(stamp.date), stamp.date.since(stamp.oldest));
        let source = IngestSource::Live { connection, backfill_before, late, age, stalled };
        began.end(Stage::Track);
        self.queue.send(arrivals, source, self.clock.moment()).await
    }

    /// Logs control messages, each kind once per connection, and announces posts that X withheld.
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
        if reading.limit_announced.is_some_and(|at| now.since(at) < LIMIT_INTERVAL) {
            return;
        }
        reading.limit_announced = Some(now);
        let posts = track.map_or("posts".to_owned(), |track| format!("{track} posts"));
        let text = format!("upstream withheld {posts} that matched, since the connection was established");
        self.hub.upstream().update(|status| status.notify(UpstreamNoticeKind::Limited, text));
    }

    /// Returns the cause of the gap. X disconnects a stalled reader as a slow one, possibly without an announcement.
    fn gap_cause(&self, cause: &DisconnectCause, reading: &ReadLoopState) -> GapCause {
        let was_stalled = reading.stalled.is_some_and(|at| self.clock.moment().since(at) < STALL_ATTRIBUTION_WINDOW);
        match cause {
            DisconnectCause::SlowReader => GapCause::SlowReader,
            DisconnectCause::Cut(_) | DisconnectCause::CleanEof | DisconnectCause::Stale if was_stalled => {
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
