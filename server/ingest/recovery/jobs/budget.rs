use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::Config;
use crate::model::{Caller, UnixMillis};

/// Manual jobs created within the last hour, and by which callers: the record of a budget for requests that cost money.
/// It is a part of the book of jobs, so that a restart does not renew it. Its length is bounded by the account's limit: a
/// job that exceeds that is not created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(in super::super) struct Budget(Vec<Charge>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Charge {
    time: UnixMillis,
    caller: Caller,
}

/// Whose budget is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetScope {
    /// The account's, shared by all callers.
    Account,
    /// That of one caller on one account.
    Caller,
}

/// A manual job that would exceed a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetExceeded {
    /// Whose budget; the one that is renewed last, if both are exhausted.
    pub scope: BudgetScope,
    /// Jobs allowed in an hour.
    pub max: usize,
    /// How long until a further one may be created.
    pub retry_after: Duration,
}

/// The period of the budget.
const PERIOD: Duration = Duration::from_secs(3_600);

impl BudgetScope {
    /// The setting of its limit.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Account => "ingest.recovery.manual_jobs_per_hour_max",
            Self::Caller => "ingest.recovery.manual_jobs_per_hour_per_caller_max",
        }
    }
}

impl fmt::Display for BudgetExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.scope {
            BudgetScope::Account => "of the account",
            BudgetScope::Caller => "of one caller",
        };
        write!(f, "{} manual jobs {of} in an hour ({})", self.max, self.scope.setting())
    }
}

impl Budget {
    /// Charges a job to this caller and to the account, unless either has as many within the last hour as it may.
    pub(super) fn charge(&mut self, caller: Caller, config: &Config, now: UnixMillis) -> Result<(), BudgetExceeded> {
        self.0.retain(|charge| now.since(charge.time) < PERIOD);
        // A clock that was ahead leaves no debt of more than the period.
        self.0.iter_mut().for_each(|charge| charge.time = charge.time.min(now));
        let account = Some(config.manual_jobs_per_hour_max);
        // 0 is no bound of its own.
        let own = Some(config.manual_jobs_per_hour_per_caller_max).filter(|max| *max > 0);
        let exceeded = [
            self.exceeded(BudgetScope::Account, account, |_| true, now),
            self.exceeded(BudgetScope::Caller, own, |charge| charge.caller == caller, now),
        ];
        if let Some(exceeded) = exceeded.into_iter().flatten().max_by_key(|exceeded| exceeded.retry_after) {
            return Err(exceeded);
        }
        self.0.push(Charge { time: now, caller });
        Ok(())
    }

    fn exceeded(
        &self,
        scope: BudgetScope,
        max: Option<usize>,
        counts: impl Fn(&Charge) -> bool,
        now: UnixMillis,
    ) -> Option<BudgetExceeded> {
        let max = max?;
        let mut counted: Vec<_> = self.0.iter().filter(|charge| counts(charge)).map(|charge| charge.time).collect();
        counted.sort_unstable();
        // When this one is over, one less than allowed is left.
        let decisive = counted.len().checked_sub(max)?;
        let over = counted.get(decisive).map_or(now, |time| *time).plus(PERIOD);
        Some(BudgetExceeded { scope, max, retry_after: over.since(now) })
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

    fn config(account: usize, own: usize) -> Config {
        Config { manual_jobs_per_hour_max: account, manual_jobs_per_hour_per_caller_max: own, ..Config::default() }
    }

    #[test]
    fn caller_exhausts_own_budget_before_account() {
        let (mut budget, config) = (Budget::default(), config(5, 2));
        let mut charge = |n, after| {
            let charged = budget.charge(caller(n), &config, NOW.plus(Duration::from_secs(after)));
            charged.map_err(|exceeded| (exceeded.scope, exceeded.retry_after.as_secs()))
        };
        assert_eq!([charge(1, 0), charge(1, 10)], [Ok(()); 2]);
        assert_eq!(charge(1, 20), Err((BudgetScope::Caller, 3_580)));
        assert_eq!([charge(2, 20), charge(2, 20), charge(3, 30)], [Ok(()); 3], "others still have theirs");
        assert_eq!(charge(3, 40), Err((BudgetScope::Account, 3_560)));
        assert_eq!(charge(2, 40), Err((BudgetScope::Caller, 3_580)), "the longer wait counts");
        assert_eq!(charge(1, 3_600), Ok(()), "the first is an hour old");
    }

    #[test]
    fn account_without_bound_per_caller_has_its_own() {
        let (mut budget, config) = (Budget::default(), config(3, 0));
        let charged: Vec<_> = (0..5).map(|_| budget.charge(caller(1), &config, NOW).is_ok()).collect();
        assert_eq!(charged, [true, true, true, false, false]);
        let none = Config { manual_jobs_per_hour_max: 0, ..config };
        assert!(Budget::default().charge(caller(1), &none, NOW).is_err(), "0 of the account is none at all");
    }

    #[test]
    fn clock_that_was_ahead_leaves_debt_of_an_hour_at_most() {
        let (mut budget, config) = (Budget::default(), config(1, 0));
        budget.charge(caller(1), &config, NOW.plus(PERIOD * 48)).expect("the first");
        let exceeded = budget.charge(caller(1), &config, NOW).expect_err("one an hour");
        assert_eq!(exceeded.retry_after, PERIOD);
        budget.charge(caller(1), &config, NOW.plus(PERIOD)).expect("an hour later");
    }

    proptest! {
        /// However callers take turns, no hour has more than the limits, the record stays as short as the account's limit,
        /// and whoever waits as long as told is served unless others took what became free.
        #[test]
        fn no_hour_exceeds_limits(
            account in 1_usize..12,
            own in 1_usize..6,
            requests in prop::collection::vec((0_u8..5, 0_u64..2_000), 1..200),
        ) {
            let (config, mut budget, mut now) = (config(account, own), Budget::default(), NOW);
            let mut charged: Vec<(UnixMillis, u8)> = Vec::new();
            for (n, rest) in requests {
                now = now.plus(Duration::from_secs(rest));
                match budget.charge(caller(n), &config, now) {
                    Ok(()) => charged.push((now, n)),
                    Err(exceeded) => {
                        let mut later = budget.clone();
                        prop_assert!(later.charge(caller(n), &config, now.plus(exceeded.retry_after)).is_ok());
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
