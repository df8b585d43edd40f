//! The budget of rule requests: X allows 50 in any 24 hours.
//!
//! A request is charged before it leaves, and the charge is persisted before that. Ages of charges are measured by
//! *running time*: machine time while the gateway runs, persisted with the charges. No step of a clock changes it, and
//! time while the gateway is stopped does not count, so a charge is at least as old as its running time indicates.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::UnixMillis;

/// Window of X's limit (Powerstream introduction).
const WINDOW: Duration = Duration::from_secs(24 * 3_600);
/// Added to the window: X's clock and the gateway's do not agree to the second.
const MARGIN: Duration = Duration::from_secs(5);
/// Wait after a 429 that names no time.
const UNNAMED_WAIT: Duration = Duration::from_secs(3_600);

/// Running time: total machine time during which the gateway ran with this budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunningTime(u64);

impl RunningTime {
    /// Returns the running time this much later.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Returns the time since `earlier`; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Method of a rule request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Reads all rules.
    Get,
    /// Adds rules.
    Post,
    /// Deletes rules.
    Delete,
}

impl Method {
    /// Returns the name for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

/// A charged request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCharge {
    /// When it was charged, by upstream time: for operators.
    pub time: UnixMillis,
    /// Method.
    pub method: Method,
    /// When it ended; when it left, while it has not.
    at: RunningTime,
    /// The request has no answer yet.
    open: bool,
}

/// Limits of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Requests in 24 hours.
    pub requests_max: usize,
    /// Part of them that only an operator, and the request after an unknown outcome, may use.
    pub reserve: usize,
}

/// What X reported of its own count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct XCount {
    /// Requests that X still allowed, less those made since.
    remaining: u64,
    /// When that ends.
    until: RunningTime,
}

/// Charges of the last 24 hours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleBudget {
    /// Running time when this was persisted.
    now: RunningTime,
    charges: Vec<RequestCharge>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x_count: Option<XCount>,
    /// No request before this time: X refused one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blocked_until: Option<RunningTime>,
}

/// Which part of the budget a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetAccess {
    /// All but the reserve.
    Ordinary,
    /// The reserve too.
    Reserve,
}

/// A request that the budget does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("budget of rule requests is exhausted")]
pub struct BudgetExhausted {
    /// Time until the next request is possible.
    pub retry_after: Duration,
}

/// The budget as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Maximum requests in 24 hours.
    pub limit: usize,
    /// Part of it that ordinary work may not use.
    pub reserve: usize,
    /// Requests charged in the last 24 hours.
    pub used: usize,
    /// Requests that ordinary work may still make now.
    pub available: usize,
    /// Requests that remain by X's own count, if it reported one.
    pub x_remaining: Option<u64>,
    /// Time until each charge expires, the next first.
    pub resets: Vec<Duration>,
    /// Time until ordinary work may make the next request; zero: now.
    pub next_possible: Duration,
}

impl RuleBudget {
    /// Returns the running time when this was persisted: where a restarted gateway continues.
    pub fn persisted_at(&self) -> RunningTime {
        self.now
    }

    /// Returns the budget of an account whose charges are not known: one request is left, from the reserve.
    pub fn unknown(limits: &RequestLimits, time: UnixMillis) -> Self {
        let charge = RequestCharge { time, method: Method::Get, at: RunningTime::default(), open: false };
        Self { charges: vec![charge; limits.requests_max.saturating_sub(1)], ..Self::default() }
    }

    /// Continues after a restart: requests without an answer count from now, because when X received them is unknown.
    pub fn restart(&mut self) {
        let now = self.now;
        for charge in self.charges.iter_mut().filter(|charge| charge.open) {
            (charge.at, charge.open) = (now, false);
        }
    }

    /// Forgets what has expired.
    pub fn advance(&mut self, now: RunningTime) {
        self.now = self.now.max(now);
        let now = self.now;
        self.charges.retain(|charge| charge.open || now.since(charge.at) < WINDOW + MARGIN);
        self.x_count = self.x_count.filter(|count| count.until > now);
        self.blocked_until = self.blocked_until.filter(|until| *until > now);
    }

    /// Charges a request. Persist the budget before the request leaves.
    pub fn charge(
        &mut self,
        method: Method,
        access: BudgetAccess,
        limits: &RequestLimits,
        (now, time): (RunningTime, UnixMillis),
    ) -> Result<(), BudgetExhausted> {
        self.advance(now);
        let retry_after = self.wait(access, limits);
        if !retry_after.is_zero() {
            return Err(BudgetExhausted { retry_after });
        }
        self.charges.push(RequestCharge { time, method, at: self.now, open: true });
        if let Some(count) = &mut self.x_count {
            count.remaining = count.remaining.saturating_sub(1);
        }
        Ok(())
    }

    /// Takes back the last charge: no byte of the request was sent.
    pub fn refund(&mut self) {
        if self.charges.last().is_some_and(|charge| charge.open) {
            self.charges.pop();
            if let Some(count) = &mut self.x_count {
                count.remaining += 1;
            }
        }
    }

    /// Records the end of the open request, with or without an answer. `remaining` and `reset_in` are those of X's
    /// headers: they lower what is available, and never raise it.
    pub fn finish(&mut self, now: RunningTime, remaining: Option<u64>, reset_in: Option<Duration>) {
        self.advance(now);
        let now = self.now;
        for charge in self.charges.iter_mut().filter(|charge| charge.open) {
            (charge.at, charge.open) = (now, false);
        }
        if let Some(remaining) = remaining {
            let until = now.plus(reset_in.unwrap_or(WINDOW).min(WINDOW + MARGIN));
            self.x_count = Some(XCount { remaining, until });
        }
    }

    /// Records a refusal for too many requests: nothing until X's time, else one attempt per hour.
    pub fn block(&mut self, now: RunningTime, reset_in: Option<Duration>) {
        self.advance(now);
        let wait = reset_in.filter(|wait| !wait.is_zero()).unwrap_or(UNNAMED_WAIT).min(WINDOW + MARGIN);
        self.blocked_until = Some(self.now.plus(wait));
    }

    /// Returns the number of requests that may be made now.
    pub fn available(&self, access: BudgetAccess, limits: &RequestLimits) -> usize {
        if self.blocked_until.is_some() {
            return 0;
        }
        let reserve = self.reserve(access, limits);
        let own = limits.requests_max.saturating_sub(self.charges.len());
        let x = self.x_count.map_or(usize::MAX, |count| usize::try_from(count.remaining).unwrap_or(usize::MAX));
        own.saturating_sub(reserve).min(x.saturating_sub(reserve))
    }

    fn reserve(&self, access: BudgetAccess, limits: &RequestLimits) -> usize {
        match access {
            BudgetAccess::Ordinary => limits.reserve,
            BudgetAccess::Reserve => 0,
        }
    }

    /// Returns the time until the next request is possible; zero if it is now.
    pub fn wait(&self, access: BudgetAccess, limits: &RequestLimits) -> Duration {
        if self.available(access, limits) > 0 {
            return Duration::ZERO;
        }
        let reserve = self.reserve(access, limits);
        let of = |until: RunningTime| until.since(self.now);
        let blocked = self.blocked_until.map_or(Duration::ZERO, of);
        let x = self
            .x_count
            .filter(|count| count.remaining <= reserve as u64)
            .map_or(Duration::ZERO, |count| of(count.until));
        // So many of the oldest charges have to expire.
        let usable = limits.requests_max.saturating_sub(reserve);
        let excess = (self.charges.len() + 1).saturating_sub(usable);
        let own = match excess.checked_sub(1) {
            None => Duration::ZERO,
            Some(last) => self.expiries().get(last).copied().unwrap_or(WINDOW),
        };
        blocked.max(x).max(own).max(Duration::from_millis(1))
    }

    /// Returns the times until the charges expire, in order.
    fn expiries(&self) -> Vec<Duration> {
        let left = |charge: &RequestCharge| (WINDOW + MARGIN).saturating_sub(self.now.since(charge.at));
        let mut expiries: Vec<_> = self.charges.iter().map(left).collect();
        expiries.sort_unstable();
        expiries
    }

    /// Returns the budget as shown.
    pub fn status(&self, limits: &RequestLimits) -> BudgetStatus {
        BudgetStatus {
            limit: limits.requests_max,
            reserve: limits.reserve,
            used: self.charges.len(),
            available: self.available(BudgetAccess::Ordinary, limits),
            x_remaining: self.x_count.map(|count| count.remaining),
            resets: self.expiries(),
            next_possible: self.wait(BudgetAccess::Ordinary, limits),
        }
    }
}

#[cfg(test)]
mod tests;
