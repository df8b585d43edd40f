//! How far one connection of a feed has come.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backfill::Backfill;
use super::book::Limits;
use crate::model::{Span, UnixMillis};

/// What one connection of a feed has delivered since its first byte, or had when it ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Connection {
    /// Its first byte came and it has not ended.
    pub(super) up: bool,
    /// When its first byte came.
    pub(super) first_byte: UnixMillis,
    /// Posts created from here on come by it: the slack after its first byte, or the start of its backfill once that is
    /// believed.
    pub(super) complete_from: UnixMillis,
    /// When the last whole message or heartbeat came.
    pub(super) last_byte: UnixMillis,
    /// The newest post.
    pub(super) newest: Option<Newest>,
    /// The backfill that it asked for, until that is decided.
    #[serde(skip)]
    pub(super) backfill: Option<Backfill>,
    /// `complete_from` before the backfill was believed, and when it was.
    before_backfill: Option<(UnixMillis, UnixMillis)>,
    /// Its reader was stopped for this long: what is read until then may be stamped so much too early.
    #[serde(skip)]
    stopped: Option<(Duration, UnixMillis)>,
    /// X ended it as a slow reader, and there has been no first byte since: X has no backfill for it.
    pub(super) slow: bool,
}

/// The newest post of a connection.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Newest {
    pub(super) created: UnixMillis,
    /// How long after its creation it came.
    pub(super) lag: Duration,
}

/// A post that claims to be from later than this after now is not believed to be the newest.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(60);
/// The turn that what is read after a stop is stamped with is later than the last byte by at most about this: by then a
/// connection is stale.
const STAMPED_AGE_MAX: Duration = Duration::from_secs(60);

impl Connection {
    /// A connection whose first byte came now; `newest` is what is known of its lag.
    pub(super) fn new(now: UnixMillis, slack: Duration, newest: Option<Newest>, backfill: Option<Backfill>) -> Self {
        Self {
            up: true,
            first_byte: now,
            complete_from: now.plus(slack),
            last_byte: now,
            newest,
            backfill,
            before_backfill: None,
            stopped: None,
            slow: false,
        }
    }

    /// How much older than its arrival a post of this connection can be: the slack, or the lag if that is more.
    pub(super) fn margin(&self, limits: &Limits) -> Duration {
        let lag = self.newest.map_or(Duration::ZERO, |newest| newest.lag.min(limits.config.lag_max));
        lag.max(limits.slack)
    }

    /// Everything created before this, and after `complete_from`, has come.
    pub(super) fn reach(&self, limits: &Limits) -> UnixMillis {
        self.last_byte.minus(self.margin(limits))
    }

    /// What it has delivered. That it is up proves nothing of the time since.
    pub(super) fn delivered(&self, limits: &Limits) -> Span {
        Span::new(self.complete_from, self.reach(limits))
    }

    /// Something came; `created` are the times of the posts in it.
    pub(super) fn heard(&mut self, received: UnixMillis, created: &[UnixMillis]) {
        self.last_byte = received;
        if let Some(backfill) = &mut self.backfill {
            created.iter().for_each(|created| backfill.heard(*created, received));
        }
        let newest = created.iter().copied().filter(|created| *created <= received.plus(AHEAD_MAX)).max();
        if let Some(created) = newest
            && self.newest.is_none_or(|newest| newest.created <= created)
        {
            let early =
                self.stopped.filter(|(_, until)| received < *until).map_or(Duration::ZERO, |(stopped, _)| stopped);
            self.newest = Some(Newest { created, lag: received.plus(early).since(created) });
        }
    }

    /// Its reader was stopped for this long. The stamps of what it reads next are too early by up to that, and so would be
    /// its lag, by which the start of a gap is reckoned.
    pub(super) fn stop(&mut self, stopped: Duration) {
        self.stopped = Some((stopped, self.last_byte.plus(stopped).plus(STAMPED_AGE_MAX)));
        if let Some(backfill) = &mut self.backfill {
            backfill.pause(stopped);
        }
    }

    /// Its backfill came.
    pub(super) fn believe(&mut self, from: UnixMillis, now: UnixMillis) {
        self.before_backfill = Some((self.complete_from, now));
        self.complete_from = self.complete_from.min(from);
    }

    /// What is known of it if the process ends now: nothing that came later than `appended` is in the log.
    pub(super) fn as_appended(&self, appended: UnixMillis) -> Self {
        // Before the first byte nothing came: what is missing until then is a gap already.
        let last_byte = self.last_byte.min(appended.max(self.first_byte));
        let mut own = Self { last_byte, ..self.clone() };
        if let Some((complete_from, at)) = own.before_backfill
            && at > appended
        {
            own.complete_from = complete_from;
        }
        own
    }
}
