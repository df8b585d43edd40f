//! Durations of the lease, all fractions of its time to live.

use std::time::Duration;

/// Settings of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Time after which another replica takes the lease of one that stopped to renew it.
    pub ttl: Duration,
}

/// Durations derived from the time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    ttl: Duration,
}

impl Timing {
    /// Returns the durations of this time to live.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl }
    }

    /// From the first sight of a value to the bid, without jitter.
    pub fn ttl(self) -> Duration {
        self.ttl
    }

    /// From one renewal to the next.
    pub fn renewal_interval(self) -> Duration {
        self.ttl / 5
    }

    /// How long an update is good, from the moment it was sent.
    pub fn validity(self) -> Duration {
        self.ttl / 5 * 4
    }

    /// From one look at the key to the next, and from a failed attempt to the next.
    pub fn look_interval(self) -> Duration {
        self.ttl / 20
    }

    /// Maximum jitter of a bid.
    pub fn jitter_max(self) -> Duration {
        self.ttl / 10
    }

    /// How long an announcement of a newer version counts.
    pub fn announcement_age_max(self) -> Duration {
        self.ttl / 5
    }

    /// How long a candidate of an older version leaves newer ones to bid first.
    pub fn deference_max(self) -> Duration {
        self.ttl / 5 * 2
    }

    /// Maximum duration of one call of the shared keys.
    pub fn call_timeout(self) -> Duration {
        self.ttl / 5
    }
}
