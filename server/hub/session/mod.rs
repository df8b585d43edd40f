//! The pull loop of one session: cursor and filter to frames.
//!
//! [`Session::next`] is called when the client can receive a frame, and only then reads on. It returns all frames in
//! one order, so a token is valid by its place (I5): it covers everything returned before and with it.
//!
//! Invariants: `SessionStart` is the first frame; the cursor only grows; it passes a record only when its frame was
//! returned or the record does not match; a token is never older than two heartbeats, because the heartbeat advances it
//! even if nothing matches and during replay.

mod access;
mod delivery;
mod delivery_timer;
mod frame;
mod group_read;
mod meter;
mod open_gaps;
mod private_frames;
mod private_gaps;
mod pull;
mod read;
pub(super) mod registry;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use rand::RngExt;
use tokio::sync::watch;

pub use delivery_timer::DeliveryTimer;
pub use frame::{
    EndReason, EventBatch, Frame, FrameContent, Heartbeat, Lag, SessionEnd, SessionStart, TimedPosition, Warning,
    WarningCode,
};
pub use open_gaps::START_GAPS_MAX;

use self::access::{AccessDecision, ReplayPermits, SessionAccess};
use self::meter::SessionMeter;
use self::registry::{DrainNotice, SessionGuard};
use super::entry::Entry;
pub use super::entry::Phase;
use super::fanout::GroupMember;
use super::metrics::SessionCounters;
use super::ring::ReadLimits;
use super::start::ResolvedStart;
use super::status::upstream_status::{UpstreamNotice, UpstreamStatus};
use super::wakeup::WaiterHandle;
use super::{Hub, HubReadError, Read};
use crate::access::AccessWatch;
use crate::backoff::{client_retry_delay, jitter};
use crate::clock::Moment;
use crate::model::{Sequence, UnixMillis};
use crate::telemetry::stages::StageStamp;
use open_gaps::OpenGaps;
use private_gaps::PrivateGapReader;

/// Delivery options of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryOptions {
    /// Maximum events of a batch.
    pub batch_events_max: usize,
    /// Maximum bytes of encoded events of a batch; one larger event is sent alone.
    pub batch_bytes_max: usize,
    /// Maximum delay to fill a batch.
    pub batch_delay_max: Duration,
    /// Maximum time between two frames.
    pub heartbeat: Duration,
    /// The client's deadline.
    pub deadline: Option<Moment>,
}

impl DeliveryOptions {
    /// Returns the limits of a batch.
    fn limits(&self) -> ReadLimits {
        ReadLimits { entries: self.batch_events_max, bytes: self.batch_bytes_max }
    }
}

/// One session.
pub struct Session {
    hub: Arc<Hub>,
    guard: SessionGuard,
    waiter: WaiterHandle,
    member: GroupMember,
    pace: DeliveryOptions,
    start: Option<Box<SessionStart>>,
    /// Gaps that did not fit into `SessionStart`.
    more_gaps: Option<Box<OpenGaps>>,
    counters: SessionCounters,
    meter: SessionMeter,

    /// The next record to pass.
    cursor: Sequence,
    /// Receive time of the last passed record.
    last_advance: Option<UnixMillis>,
    /// Receive time of the last passed record that came on the live stream.
    streamed_at: Option<UnixMillis>,
    /// Upstream time up to which everything received has been passed.
    received_up_to: UnixMillis,
    /// Creation time of the newest post delivered by this session.
    created_up_to: UnixMillis,
    /// As above, for the live stream only, since the session began.
    streamed: UnixMillis,
    /// As above, when the session began, by the clock of then.
    streamed_before: UnixMillis,
    subscription_start: UnixMillis,
    subscription_from: Option<Sequence>,
    /// Moment at which the session began: times of its start follow corrections of the clock.
    subscription_began: Moment,
    repeats_until: Option<UnixMillis>,
    /// Private gaps; `None` for most subscriptions.
    private: Option<Box<PrivateGapReader>>,
    delivered: u64,
    caught_up: bool,

    /// Entries read and not passed yet; they start at or after the cursor.
    pending_entries: VecDeque<Arc<Entry>>,
    /// Where the log continues after these entries.
    next_pending: Sequence,
    /// A pending journal read. Kept between calls, because it has a place in the queue.
    reading: Option<PendingRead>,
    /// When the last wake-up ended a wait.
    resumed: StageStamp,
    /// Permits held while the session reads the journal or waits for it.
    replay: Option<ReplayPermits>,

    heartbeat_at: Moment,
    /// Timer of the last wait, reused if the next wait has the same end: most waits end earlier.
    alarm: Option<SessionTimer>,
    rotate_at: Option<Moment>,
    status: watch::Receiver<UpstreamStatus>,
    /// Number of upstream notices sent.
    notices_sent: u64,
    closing: watch::Receiver<Option<DrainNotice>>,
    /// When the session ends because of a drain, and its share of the interval of drains.
    drain_at: Option<Moment>,
    drain_share: f32,
    /// When control frames were polled last.
    polled_at: Moment,
    access: Option<SessionAccess>,
    ended: Option<SessionEnd>,
}

/// Parameters of a session.
pub struct SessionParams {
    /// Entry in the registry.
    pub guard: SessionGuard,
    /// Membership in the fan-out group of its filter.
    pub member: GroupMember,
    /// Delivery options.
    pub pace: DeliveryOptions,
    /// Start position.
    pub resolved: ResolvedStart,
    /// Its id.
    pub session_id: String,
    /// Name that the consumer sent.
    pub consumer: String,
    /// Warnings to send.
    pub warnings: Vec<Warning>,
    /// Right of the caller, checked again while the session runs; `None`: never.
    pub access: Option<Box<AccessWatch>>,
}

/// A timer and its end.
type SessionTimer = (Moment, BoxFuture<'static, ()>);

type PendingRead = BoxFuture<'static, Result<Read, HubReadError>>;

impl Session {
    /// Opens a session.
    pub fn open(hub: Arc<Hub>, opening: SessionParams) -> Self {
        let SessionParams { guard, member, pace, resolved, session_id, consumer, warnings, access } = opening;
        let now = hub.clock().moment();
        let (open_gaps, more_gaps) = OpenGaps::begin(hub.gaps(), resolved.cursor);
        let start = SessionStart {
            session_id,
            account: hub.account().clone(),
            epoch: hub.reader().epoch(),
            heartbeat: pace.heartbeat,
            outcome: resolved.outcome,
            place: TimedPosition { position: hub.position(resolved.cursor - 1), time: None },
            missing: resolved.missing,
            open_gaps,
            warnings,
        };
        let age_max = hub.live().session_age_max;
        let status = hub.upstream().watch();
        let notice_count = status.borrow().notice_count;
        Self {
            waiter: hub.register_waiter(member.filter().keys().clone()),
            counters: hub.metrics().session(&consumer, hub.config().consumer_labels_max),
            meter: SessionMeter::begin(&hub, &consumer, &resolved, &guard.entry().activity),
            closing: hub.registry().closing(),
            heartbeat_at: now.plus(pace.heartbeat),
            alarm: None,
            rotate_at: (!age_max.is_zero()).then(|| now.plus(jitter(&mut rand::rng(), age_max, 0.1))),
            cursor: resolved.cursor,
            last_advance: None,
            streamed_at: None,
            received_up_to: resolved.reached,
            created_up_to: UnixMillis::default(),
            streamed: UnixMillis::default(),
            streamed_before: resolved.streamed,
            subscription_start: resolved.subscription_start,
            subscription_from: resolved.subscription_from,
            subscription_began: resolved.subscription_began,
            repeats_until: resolved.repeats_until,
            private: resolved
                .private
                .map(|private_gaps| Box::new(PrivateGapReader::new(&hub, private_gaps, resolved.subscription_start))),
            delivered: 0,
            caught_up: false,
            pending_entries: VecDeque::new(),
            next_pending: resolved.cursor,
            reading: None,
            resumed: StageStamp::default(),
            replay: None,
            start: Some(Box::new(start)),
            more_gaps,
            ended: None,
            access: access.map(SessionAccess::new),
            guard,
            drain_at: None,
            drain_share: rand::rng().random(),
            polled_at: now,
            status,
            notices_sent: notice_count,
            member,
            pace,
            hub,
        }
    }

    /// Returns the next frame, or the end of the session.
    async fn next_frame(&mut self) -> Result<Frame, SessionEnd> {
        if let Some(end) = &self.ended {
            return Err(end.clone());
        }
        if let Some(start) = self.start.take() {
            return Ok(self.frame(FrameContent::Start(start)));
        }
        loop {
            if let Some(frame) = self.poll_control()? {
                return Ok(frame);
            }
            if let Some(gaps) = self.more_gaps.as_mut().and_then(|more| more.next(self.hub.gaps())) {
                return Ok(Frame { token: None, content: FrameContent::OpenGaps(gaps) });
            }
            if self.wait_for_rate().await {
                continue;
            }
            if let Some(frame) = self.poll_private_gaps()? {
                return Ok(frame);
            }
            if let Some(passed) = self.poll_group_read() {
                let Some(frame) = passed else {
                    tokio::task::coop::consume_budget().await;
                    continue;
                };
                return Ok(frame);
            }
            if self.pending_entries.is_empty()
                && let Some(frame) = self.read_on().await?
            {
                return Ok(frame);
            }
            if let Some(frame) = self.take_pending() {
                return Ok(frame);
            }
            if self.reading.is_some() || self.cursor < self.hub.next() {
                // A filter with few matches must not block the thread for other sessions.
                tokio::task::coop::consume_budget().await;
                continue;
            }
            if let Some(frame) = self.at_tip() {
                return Ok(frame);
            }
            if let Some(frame) = self.private_frame()? {
                return Ok(frame);
            }
            self.wait_for_records().await;
        }
    }

    /// Returns the next control frame (drain, upstream notice, heartbeat) if one is due, independent of record
    /// delivery.
    fn poll_control(&mut self) -> Result<Option<Frame>, SessionEnd> {
        let now = self.hub.clock().moment();
        self.polled_at = now;
        let closing = *self.closing.borrow();
        self.drain_at = closing.map(|notice| notice.end_of(self.drain_share));
        if let Some(notice) = closing.filter(|_| self.drain_at <= Some(now)) {
            return Ok(Some(self.drain(notice.reason(), notice.deadline)));
        }
        if self.guard.entry().termination().is_some() {
            let deadline = self.hub.clock().now();
            return Ok(Some(self.drain(EndReason::Terminated, deadline)));
        }
        if self.pace.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(self.end(EndReason::Deadline));
        }
        if self.rotate_at.is_some_and(|at| at <= now) {
            let deadline = self.hub.clock().now();
            return Ok(Some(self.drain(EndReason::Rotated, deadline)));
        }
        match self.access.as_mut().map_or(AccessDecision::Continue, SessionAccess::poll) {
            AccessDecision::Continue => {}
            AccessDecision::End(reason) => return Err(self.end(reason)),
            AccessDecision::Announce(remaining) => {
                let deadline = self.hub.clock().now().plus(remaining);
                let (reason, reconnect_after) = (EndReason::CredentialsExpired, client_retry_delay());
                let content = FrameContent::Draining { reason, deadline, reconnect_after };
                return Ok(Some(Frame { token: Some(self.token()), content }));
            }
        }
        if let Some(news) = self.next_notice() {
            return Ok(Some(Frame { token: None, content: FrameContent::News(news) }));
        }
        Ok((self.heartbeat_at <= now).then(|| self.heartbeat(now)))
    }

    fn next_notice(&mut self) -> Option<UpstreamNotice> {
        if !self.status.has_changed().unwrap_or(false) {
            return None;
        }
        let status = self.status.borrow_and_update();
        let fresh = status.notice_count != self.notices_sent;
        self.notices_sent = status.notice_count;
        status.news.clone().filter(|_| fresh)
    }

    fn heartbeat(&mut self, now: Moment) -> Frame {
        self.heartbeat_at = now.plus(self.pace.heartbeat);
        let token = self.token();
        let upstream = self.hub.upstream();
        let heartbeat = Heartbeat {
            now: self.hub.clock().now(),
            low_watermark: self.low_watermark(),
            lag: self.lag(),
            upstream: upstream.status().state,
            upstream_age: upstream.last_byte().map(|last| now.since(last.moment)),
            delivered_total: self.delivered,
        };
        Frame { token: Some(token), content: FrameContent::Heartbeat(heartbeat) }
    }

    /// Returns `CaughtUp` when the session reaches the tip, the first time or again.
    fn at_tip(&mut self) -> Option<Frame> {
        self.replay = None;
        if std::mem::replace(&mut self.caught_up, true) {
            return None;
        }
        let place = self.timed_position();
        Some(self.frame(FrameContent::CaughtUp(place)))
    }

    fn fell_behind(&mut self) -> Frame {
        let (place, lag) = (self.timed_position(), self.lag());
        self.frame(FrameContent::FellBehind { place, lag })
    }

    fn drain(&mut self, reason: EndReason, deadline: UnixMillis) -> Frame {
        let end = self.end(reason);
        let reconnect_after = end.reconnect_after;
        let token = Some(end.token.clone());
        self.ended = Some(end);
        Frame { token, content: FrameContent::Draining { reason, deadline, reconnect_after } }
    }

    fn end(&mut self, ending: EndReason) -> SessionEnd {
        let termination = self.guard.entry().termination().filter(|_| ending == EndReason::Terminated);
        let (reason, delay) = termination.map_or((None, None), |own| (Some(own.reason.clone()), own.retry_after));
        let reconnect_after = delay.unwrap_or_else(client_retry_delay);
        let end = SessionEnd { ending, token: self.token(), reconnect_after, reason };
        self.ended = Some(end.clone());
        end
    }
}
