use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Caller, UnixMillis};

/// Charges of the last hour with their callers: the budget for requests to X that cost money. Its owner persists it, so
/// that a restart does not renew the budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Budget(Vec<Charge>);

/// Limits of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// What is charged, as a plural noun.
    pub counted: &'static str,
    /// Limit of all callers together.
    pub account: Option<Limit>,
    /// Limit of each caller.
    pub caller: Option<Limit>,
}

/// Maximum charges in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Maximum.
    pub max: usize,
    /// Name of the setting.
    pub setting: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Charge {
    time: UnixMillis,
    caller: Caller,
}

/// Which budget is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetScope {
    /// The account's, shared by all callers.
    Account,
    /// That of one caller on one account.
    Caller,
}

/// A charge that would exceed a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetExceeded {
    /// The exhausted budget; the one that is renewed last, if both are.
    pub scope: BudgetScope,
    /// Limit of the budget.
    pub limit: Limit,
    /// What is charged, as a plural noun.
    pub counted: &'static str,
    /// Time until the next charge is possible.
    pub retry_after: Duration,
}

impl BudgetLimits {
    /// Returns the exhaustion of one of the budgets.
    pub fn exceeded(&self, scope: BudgetScope, retry_after: Duration) -> BudgetExceeded {
        let limit = match scope {
            BudgetScope::Account => self.account,
            BudgetScope::Caller => self.caller,
        };
        let limit = limit.unwrap_or(Limit { max: 0, setting: "" });
        BudgetExceeded { scope, limit, counted: self.counted, retry_after }
    }
}

/// Period of the budget.
const PERIOD: Duration = Duration::from_secs(3_600);

/// Maximum charges stored if only callers have a limit; beyond it the oldest are forgotten.
const CHARGES_MAX: usize = 10_000;

impl fmt::Display for BudgetExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.scope {
            BudgetScope::Account => "of the account",
            BudgetScope::Caller => "of one caller",
        };
        let Limit { max, setting } = self.limit;
        write!(f, "{max} {} {of} in an hour ({setting})", self.counted)
    }
}

impl Budget {
    /// Charges one request to this caller and to the account. Returns `BudgetExceeded` if either is exhausted.
    pub fn charge(&mut self, caller: Caller, limits: &BudgetLimits, now: UnixMillis) -> Result<(), BudgetExceeded> {
        self.0.retain(|charge| now.since(charge.time) < PERIOD);
        // A clock that was ahead leaves a debt of at most one period.
        self.0.iter_mut().for_each(|charge| charge.time = charge.time.min(now));
        let exceeded = [
            self.exceeded(BudgetScope::Account, limits, limits.account, |_| true, now),
            self.exceeded(BudgetScope::Caller, limits, limits.caller, |charge| charge.caller == caller, now),
        ];
        if let Some(exceeded) = exceeded.into_iter().flatten().max_by_key(|exceeded| exceeded.retry_after) {
            return Err(exceeded);
        }
        if self.0.len() >= CHARGES_MAX.max(limits.account.map_or(0, |limit| limit.max)) {
            self.0.remove(0);
        }
        self.0.push(Charge { time: now, caller });
        Ok(())
    }

    fn exceeded(
        &self,
        scope: BudgetScope,
        limits: &BudgetLimits,
        limit: Option<Limit>,
        counts: impl Fn(&Charge) -> bool,
        now: UnixMillis,
    ) -> Option<BudgetExceeded> {
        let limit = limit?;
        let mut counted: Vec<_> = self.0.iter().filter(|charge| counts(charge)).map(|charge| charge.time).collect();
        counted.sort_unstable();
        // When this charge expires, one less than the limit is left.
        let decisive = counted.len().checked_sub(limit.max)?;
        let over = counted.get(decisive).map_or(now, |time| *time).plus(PERIOD);
        Some(BudgetExceeded { scope, limit, counted: limits.counted, retry_after: over.since(now) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_750_000_027_000);

    fn caller(n: u8) -> Caller {
        Caller::of_peer(Some([192, 0, 2, n].into()))
    }

    /// Creates limits; 0 means no limit of each caller.
    fn bounds(account: usize, own: usize) -> BudgetLimits {
        let limit = |max| Limit { max, setting: "a.setting" };
        let caller = Some(own).filter(|max| *max > 0).map(limit);
        BudgetLimits { counted: "manual jobs", account: Some(limit(account)), caller }
    }

    #[test]
    fn caller_exhausts_own_budget_before_account() {
        let (mut budget, limits) = (Budget::default(), bounds(5, 2));
        let mut charge = |n, after| {
            let charged = budget.charge(caller(n), &limits, NOW.plus(Duration::from_secs(after)));
            charged.map_err(|exceeded| (exceeded.scope, exceeded.retry_after.as_secs()))
        };
        assert_eq!([charge(1, 0), charge(1, 10)], [Ok(()); 2]);
        assert_eq!(charge(1, 20), Err((BudgetScope::Caller, 3_580)));
        assert_eq!([charge(2, 20), charge(2, 20), charge(3, 30)], [Ok(()); 3], "other callers have their own budget");
        assert_eq!(charge(3, 40), Err((BudgetScope::Account, 3_560)));
        assert_eq!(charge(2, 40), Err((BudgetScope::Caller, 3_580)), "the later renewal counts");
        assert_eq!(charge(1, 3_600), Ok(()), "the first is an hour old");
    }

    #[test]
    fn account_without_bound_per_caller_has_its_own() {
        let (mut budget, limits) = (Budget::default(), bounds(3, 0));
        let charged: Vec<_> = (0..5).map(|_| budget.charge(caller(1), &limits, NOW).is_ok()).collect();
        assert_eq!(charged, [true, true, true, false, false]);
        let none = bounds(0, 0);
        assert!(Budget::default().charge(caller(1), &none, NOW).is_err(), "a limit of 0 for the account allows none");
        let unbounded = BudgetLimits { account: None, ..none };
        (0..CHARGES_MAX + 9).for_each(|_| budget.charge(caller(1), &unbounded, NOW).expect("no limit"));
        assert_eq!(budget.0.len(), CHARGES_MAX, "stored charges are bounded");
    }

    #[test]
    fn fast_clock_leaves_one_hour_debt_at_most() {
        let (mut budget, limits) = (Budget::default(), bounds(1, 0));
        budget.charge(caller(1), &limits, NOW.plus(PERIOD * 48)).expect("the first");
        let exceeded = budget.charge(caller(1), &limits, NOW).expect_err("one an hour");
        assert_eq!(exceeded.retry_after, PERIOD);
        budget.charge(caller(1), &limits, NOW.plus(PERIOD)).expect("an hour later");
    }

    proptest! {
        /// For any order of callers, no hour has more charges than the limits, the stored charges are bounded by the
        /// account's limit, and a caller that waits for `retry_after` succeeds unless other callers were charged
        /// meanwhile.
        #[test]
        fn no_hour_exceeds_limits(
            account in 1_usize..12,
            own in 1_usize..6,
            requests in prop::collection::vec((0_u8..5, 0_u64..2_000), 1..200),
        ) {
            let (limits, mut budget, mut now) = (bounds(account, own), Budget::default(), NOW);
            let mut charged: Vec<(UnixMillis, u8)> = Vec::new();
            for (n, rest) in requests {
                now = now.plus(Duration::from_secs(rest));
                match budget.charge(caller(n), &limits, now) {
                    Ok(()) => charged.push((now, n)),
                    Err(exceeded) => {
                        let mut later = budget.clone();
                        prop_assert!(later.charge(caller(n), &limits, now.plus(exceeded.retry_after)).is_ok());
                    }
                }
                prop_assert!(budget.0.len() <= account);
                budget = serde_json::from_slice(&serde_json::to_vec(&budget).expect("written")).expect("read");
            }
            for (from, n) in &charged {
                let within = charged.iter().filter(|(at, _)| at >= from && at.since(*from) < PERIOD);
                let (all, of_caller) = within.fold((0, 0), |(all, of), (_, by)| (all + 1, of + usize::from(by == n)));
                prop_assert!(all <= account && of_caller <= own, "{all} {of_caller}");
            }
        }
    }
}
