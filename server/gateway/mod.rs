//! Shared state of the gRPC and HTTP servers: accounts and readiness.
//!
//! Owns: the table of accounts, the default account, readiness. Does not own: the state of an account (`hub`, `ingest`), which
//! this module only reads.
//!
//! Servers look up accounts by name here and nowhere else.
//!
//! Invariants, with tests in `tests/it`:
//! - Readiness does not depend on upstream traffic (I15): an account is ready when its log is open.
//! - Liveness depends on nothing.
//! - All servers report the same state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use self::availability::Availability;
use crate::hub::session::TimedPosition;
use crate::hub::status::replica_link::ReplicaStatus;
use crate::hub::status::upstream_status::UpstreamState;
use crate::hub::{Hub, TagInfo};
use crate::ingest::recovery::{GapList, RecoveryJobs};
use crate::ingest::replication::LeaderOrders;
use crate::ingest::{self, dedup};
use crate::journal;
use crate::model::{AccountName, Epoch, PostId, UnixMillis};
use crate::rules::AccountRules;

mod availability;
mod coverage;
mod drain;
mod rule_match;

pub use coverage::{Coverage, MISSING_MAX, MissingRange, MissingReason, SKIPS_MAX};
pub use drain::{DrainId, Stopping};
pub use rule_match::{MatchLimits, MatchingPosts};

/// Accounts and readiness of the gateway.
pub struct Gateway {
    accounts: RwLock<BTreeMap<AccountName, AccountStatus>>,
    /// Account of requests that name none.
    default_account: Option<AccountName>,
    availability: Mutex<Availability>,
    ready: watch::Sender<bool>,
    /// Number of opened accounts.
    opened: watch::Sender<usize>,
}

/// An account of the configuration.
#[derive(Clone)]
enum AccountStatus {
    Open(Account),
    /// Cannot be opened, for this reason; retried.
    Failed(String),
}

/// Error of an account lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAccount {
    /// No account has this name.
    Unknown,
    /// The request names no account, the gateway has several, and none of them is the default.
    Unnamed,
    /// The account cannot be opened at present, for this reason.
    Failed(String),
}

/// An open account.
#[derive(Clone)]
pub struct Account {
    /// Log and sessions.
    pub hub: Arc<Hub>,
    /// Index of its posts by id.
    pub index: Arc<dedup::DedupIndex>,
    /// Open and closed gaps.
    pub gaps: Arc<dyn GapList>,
    /// Recovery jobs.
    pub recovery: Arc<RecoveryJobs>,
    /// Passes orders about jobs to the replica that leads; `None` if there are no other replicas.
    pub orders: Option<Arc<LeaderOrders>>,
    /// Counters and limits, for operators.
    pub counters: Arc<AccountCounters>,
    /// Rules at X.
    pub rules: Arc<AccountRules>,
}

/// Counters of ingest and journal, and the limits of retention.
pub struct AccountCounters {
    /// Counters of ingest.
    pub ingest: ingest::Metrics,
    /// Size of the log.
    pub journal: journal::Metrics,
    /// Limits of the log.
    pub retention: journal::Config,
}

/// The post ids cannot be searched.
#[derive(Debug)]
pub struct FindError(pub String);

/// Retained range and upstream state of an account.
#[derive(Clone, Debug)]
pub struct StreamInfo {
    /// Account.
    pub account: AccountName,
    /// Epoch of the log.
    pub epoch: Epoch,
    /// Oldest retained record.
    pub earliest: Option<TimedPosition>,
    /// Newest record.
    pub newest: Option<TimedPosition>,
    /// State of the upstream connection.
    pub upstream: UpstreamState,
    /// Time since the last byte.
    pub upstream_age: Option<Duration>,
    /// Error that ended the last connection; empty if none ended.
    pub upstream_last_error: String,
    /// Every event created before this is in the log or in an announced gap.
    pub low_watermark: Option<UnixMillis>,
    /// Number of open sessions.
    pub sessions: usize,
    /// Whether X refuses recovery requests of the account.
    pub recovery_refused: bool,
    /// Whether this process leads, and its state as a replica; `None` if there are no other replicas.
    pub replica: Option<(bool, ReplicaStatus)>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self::new()
    }
}

impl Gateway {
    /// Creates a gateway without accounts that is not ready.
    pub fn new() -> Self {
        Self {
            accounts: RwLock::default(),
            default_account: None,
            availability: Mutex::default(),
            ready: watch::channel(false).0,
            opened: watch::channel(0).0,
        }
    }

    /// Uses this account for requests that name none.
    #[must_use]
    pub fn with_default_account(self, account: Option<AccountName>) -> Self {
        Self { default_account: account, ..self }
    }

    /// Adds an open account.
    pub fn add(&self, account: Account) {
        let hub = account.hub.clone();
        self.accounts.write().insert(account.hub.account().clone(), AccountStatus::Open(account));
        self.opened.send_modify(|opened| *opened += 1);
        self.drain_opened(&hub);
    }

    /// Adds an account that cannot be opened at present.
    pub fn add_failed(&self, account: AccountName, reason: String) {
        self.accounts.write().insert(account, AccountStatus::Failed(reason));
    }

    /// Returns the account of this name. An empty name selects the default account, or the only one.
    pub fn account(&self, name: &str) -> Result<Account, NoAccount> {
        let accounts = self.accounts.read();
        let name = self.resolve(name, &accounts)?;
        match accounts.get(&name) {
            Some(AccountStatus::Open(account)) => Ok(account.clone()),
            Some(AccountStatus::Failed(reason)) => Err(NoAccount::Failed(reason.clone())),
            None => Err(NoAccount::Unknown),
        }
    }

    /// Returns the name of the account that a request means, open or not.
    pub fn account_name(&self, name: &str) -> Result<AccountName, NoAccount> {
        let accounts = self.accounts.read();
        self.resolve(name, &accounts)
            .and_then(|name| accounts.contains_key(&name).then_some(name).ok_or(NoAccount::Unknown))
    }

    fn resolve(&self, name: &str, accounts: &BTreeMap<AccountName, AccountStatus>) -> Result<AccountName, NoAccount> {
        match (name, &self.default_account) {
            ("", Some(account)) => Ok(account.clone()),
            ("", None) if accounts.len() == 1 => Ok(accounts.keys().next().cloned().ok_or(NoAccount::Unnamed)?),
            ("", None) => Err(NoAccount::Unnamed),
            (name, _) => AccountName::new(name).map_err(|_| NoAccount::Unknown),
        }
    }

    /// Returns all open accounts, by name.
    pub fn accounts(&self) -> Vec<Account> {
        let accounts = self.accounts.read();
        let open = accounts.values().filter_map(|opening| match opening {
            AccountStatus::Open(account) => Some(account.clone()),
            AccountStatus::Failed(_) => None,
        });
        open.collect()
    }

    /// Returns the names of all accounts, open or not, in order.
    pub fn names(&self) -> Vec<AccountName> {
        self.accounts.read().keys().cloned().collect()
    }

    /// Returns the accounts that cannot be opened, with the reason.
    pub fn failed(&self) -> Vec<(AccountName, String)> {
        let accounts = self.accounts.read();
        let failed = accounts.iter().filter_map(|(name, opening)| match opening {
            AccountStatus::Open(_) => None,
            AccountStatus::Failed(reason) => Some((name.clone(), reason.clone())),
        });
        failed.collect()
    }

    /// Subscribes to the number of opened accounts.
    pub fn openings(&self) -> watch::Receiver<usize> {
        self.opened.subscribe()
    }
}

impl Account {
    /// Returns retained range and upstream state.
    pub fn stream_info(&self) -> StreamInfo {
        let hub = &self.hub;
        let extent = hub.reader().extent();
        let held = extent.earliest < extent.next;
        let place = |sequence, time| TimedPosition { position: hub.position(sequence), time };
        let status = hub.upstream().status();
        let last_byte = hub.upstream().last_byte();
        let reached = last_byte.map(|last| last.time).or(extent.newest_received);
        StreamInfo {
            account: hub.account().clone(),
            epoch: hub.reader().epoch(),
            earliest: held.then(|| place(extent.earliest, extent.earliest_received)),
            newest: held.then(|| place(extent.next - 1, extent.newest_received)),
            upstream: status.state,
            upstream_age: last_byte.map(|last| hub.clock().moment().since(last.moment)),
            upstream_last_error: status.last_error,
            low_watermark: reached.map(|reached| hub.low_watermark(extent.next, reached)),
            sessions: hub.registry().len(),
            recovery_refused: !self.recovery.refused().is_empty(),
            replica: hub.upstream().replicas().map(|own| (!hub.upstream().is_following(), own.status())),
        }
    }

    /// Returns the observed and configured tags, by name.
    pub fn tags(&self) -> Vec<TagInfo> {
        let mut tags = self.hub.tags();
        tags.sort_by(|a, b| a.tag.cmp(&b.tag));
        tags
    }

    /// Returns the rules and the newest record of a post. Reads the disk: call it on a blocking thread.
    pub fn find(&self, post: PostId) -> Result<Option<dedup::KnownPost>, FindError> {
        self.index.find(post).map_err(|error| FindError(error.to_string()))
    }
}
