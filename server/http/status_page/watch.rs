//! Server-sent events of a viewer: a snapshot at each interval, as long as the viewer looks and may.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::cache::{INTERVAL, SnapshotCache};
use super::viewer::visible;
use crate::access::CredentialWatch;
use crate::clock::{Clock, Moment};
use crate::gateway::Gateway;
use crate::task::Shutdown;

/// Interval of comments, for proxies that close silent connections.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);
/// First bytes of the stream: delay after which a browser reconnects, in milliseconds.
const BEGIN: &[u8] = b"retry: 2000\n\n";

/// What a watcher receives, and until when.
pub(super) struct Watched {
    pub(super) gateway: Arc<Gateway>,
    pub(super) snapshots: Arc<SnapshotCache>,
    pub(super) clock: Clock,
    /// `admin.watch_age_max`.
    pub(super) age_max: Duration,
    pub(super) shutdown: Shutdown,
}

/// A viewer that receives snapshots.
pub(super) struct Watcher {
    watched: Watched,
    /// The viewer's credential: the stream ends when it does.
    credential: CredentialWatch,
    _place: OwnedSemaphorePermit,
    ends_at: Moment,
    next_at: Moment,
    commented_at: Moment,
    has_begun: bool,
}

impl Watcher {
    /// Creates a watcher that holds its place for at most the maximum age.
    pub(super) fn new(watched: Watched, credential: CredentialWatch, place: OwnedSemaphorePermit) -> Self {
        let now = watched.clock.moment();
        Self {
            credential,
            _place: place,
            ends_at: now.plus(watched.age_max),
            next_at: now,
            commented_at: now,
            has_begun: false,
            watched,
        }
    }

    /// Returns the stream of events.
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(futures::stream::unfold(self, |mut own| async move {
            let event = own.next().await?;
            Some((Ok::<_, Infallible>(event), own))
        }))
    }

    /// Returns the next event; `None` if the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.has_begun, true) {
            return Some(Bytes::from_static(BEGIN));
        }
        loop {
            let clock = &self.watched.clock;
            tokio::select! {
                () = self.watched.shutdown.cancelled() => return None,
                ended = self.credential.changed() => if ended.is_some() { return None },
                () = clock.sleep_until(self.next_at.min(self.ends_at)) => break,
            }
        }
        if self.watched.clock.moment() >= self.ends_at {
            return None;
        }
        let accounts = visible(&self.watched.gateway, |account| self.credential.grant(account));
        if accounts.is_empty() {
            return None;
        }
        let latest = self.watched.snapshots.latest(accounts).await?;
        self.next_at = latest.at.plus(INTERVAL);
        let mut event = Vec::with_capacity(latest.json.len() + 64);
        let now = self.watched.clock.moment();
        if now.since(self.commented_at) >= COMMENT_INTERVAL {
            self.commented_at = now;
            event.extend_from_slice(b": the gateway runs\n\n");
        }
        event.extend_from_slice(b"event: status\ndata: ");
        event.extend_from_slice(&latest.json);
        event.extend_from_slice(b"\n\n");
        Some(event.into())
    }
}
