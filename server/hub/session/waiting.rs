//! Waits of a session: for records that may match, and for the next control frame.

use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;

use super::super::ring::ReadLimits;
use super::super::status::upstream_status::UpstreamStatus;
use super::access::SessionAccess;
use super::private_gaps::PrivateGapReader;
use super::registry::DrainNotice;
use super::{Session, SessionTimer};
use crate::clock::Moment;
use crate::telemetry::stages::StageStamp;

/// Reason of a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WakeReason {
    /// Records that may match.
    Records,
    /// A control frame or the limit.
    Else,
}

impl Session {
    pub(super) async fn wait_for_records(&mut self) {
        let Some(waiting) = self.waiter.park(self.cursor, || self.hub.next()) else { return };
        self.guard.entry().activity.set_parked(true);
        let woken = self.wait(None).await;
        self.resumed = StageStamp::now();
        self.guard.entry().activity.set_parked(false);
        let passable = self.waiter.unpark(waiting);
        if woken == WakeReason::Else && self.has_missed_wake() {
            // The index missed them: they are read one by one.
            self.hub.metrics().found_by_timer.inc();
        } else if let Some(sequence) = passable {
            self.advance_unmatched(sequence);
        }
        if woken == WakeReason::Records && !self.pace.batch_delay_max.is_zero() {
            let full_at = self.hub.clock().moment().plus(self.pace.batch_delay_max);
            while self.wait(Some(full_at)).await == WakeReason::Records {}
        }
    }

    /// Returns true if the log has contained a matching record for so long that a wake-up must have come.
    pub(super) fn has_missed_wake(&self) -> bool {
        const WOKEN_WITHIN: Duration = Duration::from_secs(1);
        let few = ReadLimits { entries: 8, bytes: usize::MAX };
        let read = self.hub.read_hot(self.cursor, self.member.filter().keys(), few);
        let now = self.hub.clock().now();
        read.is_some_and(|read| {
            read.entries.iter().any(|entry| {
                let is_for_it = entry.event().is_none_or(|event| self.member.filter().matches(&event.rules));
                is_for_it && now.since(entry.received) >= WOKEN_WITHIN
            })
        })
    }

    /// Waits for records, a control frame, or `limit`.
    async fn wait(&mut self, limit: Option<Moment>) -> WakeReason {
        self.set_alarm(limit);
        tokio::select! {
            // A wake-up has priority over a timer that ends at the same time.
            biased;
            () = self.waiter.wait() => WakeReason::Records,
            () = something_due(&mut self.alarm, &mut self.status, &mut self.closing) => WakeReason::Else,
            () = private_gap_changed(self.private.as_deref_mut()) => WakeReason::Else,
        }
    }

    /// Waits while the caller is beyond its rate of bytes, or until a control frame is due. Returns whether it waited.
    pub(super) async fn wait_for_rate(&mut self) -> bool {
        let delay = self.access.as_ref().map_or(Duration::ZERO, SessionAccess::delivery_delay);
        if delay.is_zero() {
            return false;
        }
        self.set_alarm(Some(self.hub.clock().moment().plus(delay)));
        something_due(&mut self.alarm, &mut self.status, &mut self.closing).await;
        true
    }

    /// Sets the timer for the next control frame, or for `limit` if that is earlier.
    pub(super) fn set_alarm(&mut self, limit: Option<Moment>) {
        let due = self.access.as_ref().and_then(SessionAccess::next_due);
        let access_at = due.map(|left| self.hub.clock().moment().plus(left));
        let until = [Some(self.heartbeat_at), self.rotate_at, self.drain_at, self.pace.deadline, access_at, limit];
        let until = until.into_iter().flatten().min();
        let until = until.expect("the heartbeat is always set");
        if self.alarm.as_ref().is_none_or(|alarm| alarm.0 != until) {
            let clock = self.hub.clock().clone();
            self.alarm = Some((until, async move { clock.sleep_until(until).await }.boxed()));
        }
    }
}

/// Waits until [`Session::poll_control`] may have a control frame. Cancel safe.
pub(super) async fn something_due(
    alarm: &mut Option<SessionTimer>,
    status: &mut watch::Receiver<UpstreamStatus>,
    closing: &mut watch::Receiver<Option<DrainNotice>>,
) {
    let rings = async {
        match alarm {
            Some((_, rings)) => rings.await,
            None => std::future::pending().await,
        }
        *alarm = None;
    };
    tokio::select! {
        biased;
        () = rings => {}
        _ = status.changed() => {
            // Left marked as changed for `poll_control`.
            status.mark_changed();
        }
        _ = closing.changed() => {}
    }
}

/// Waits for a change of the private gaps; forever if there are none.
async fn private_gap_changed(private: Option<&mut PrivateGapReader>) {
    match private {
        Some(private) => private.changed().await,
        None => std::future::pending().await,
    }
}
