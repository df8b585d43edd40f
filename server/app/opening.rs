//! Opens accounts independently of each other, and retries accounts that fail to open.
//!
//! An account whose directory cannot be used does not stop the others: it is reported (log, metric, health, status) and
//! retried every `account_retry_interval`.

use prometheus_client::metrics::gauge::Gauge;

use super::account::{self, AccountRuntime};
use super::account_tasks::AccountTasks;
use super::open_context::OpenContext;
use crate::config::{self, Settings};
use crate::task::{ExitPolicy, Shutdown, TaskGroup};

/// An account of the configuration, opened or failed.
pub(super) struct AccountOpening {
    account: config::AccountSettings,
    outcome: anyhow::Result<AccountRuntime>,
    is_open: Gauge,
}

/// Warns of log directories that belong to no configured account, for example after an account was renamed.
fn report_orphans(settings: &Settings) {
    let Ok(entries) = std::fs::read_dir(settings.data_dir.join("accounts")) else { return };
    let is_known = |name: &str| settings.accounts.iter().any(|account| account.name.as_str() == name);
    for entry in entries.flatten().filter(|entry| !entry.file_name().to_str().is_some_and(is_known)) {
        tracing::warn!(path = %entry.path().display(), "log directory belongs to no configured account");
    }
}

/// Tries to open all accounts. Blocks on the disk.
pub(super) fn open_all(shared: &OpenContext) -> Vec<AccountOpening> {
    report_orphans(&shared.settings);
    let attempt = |account: &config::AccountSettings| {
        let is_open = Gauge::default();
        shared.metrics.account(&account.name, |part| {
            let help = "Whether the account is open (1) or its directory cannot be used (0)";
            part.register("account_open", help, is_open.clone());
        });
        AccountOpening { account: account.clone(), outcome: account::open(shared, account), is_open }
    };
    shared.settings.accounts.iter().map(attempt).collect()
}

/// Returns the failure that prevents the start: that of any account if `strict`, otherwise only if all failed.
pub(super) fn failure(attempts: Vec<AccountOpening>, strict: bool) -> Result<Vec<AccountOpening>, anyhow::Error> {
    let fails = |attempt: &AccountOpening| attempt.outcome.is_err();
    let stops = if strict { attempts.iter().any(fails) } else { attempts.iter().all(fails) };
    if !stops {
        return Ok(attempts);
    }
    match attempts.into_iter().find_map(|attempt| attempt.outcome.err()) {
        Some(error) => Err(error),
        None => Ok(Vec::new()),
    }
}

impl AccountOpening {
    /// Adds the account to the gateway, so that it is known before the ports are bound. A failed account is retried by
    /// a task of `tasks`.
    pub(super) fn settle(
        self,
        shared: &OpenContext,
        runners: &AccountTasks,
        tasks: &TaskGroup,
    ) -> Option<AccountRuntime> {
        let Self { account, outcome, is_open } = self;
        match outcome {
            Ok(opened) => {
                is_open.set(1);
                runners.gateway.add(opened.handle());
                Some(opened)
            }
            Err(error) => {
                let reason = report(&account, &error);
                runners.gateway.add_failed(account.name.clone(), reason.clone());
                let again = OpenRetry { shared: shared.clone(), runners: runners.clone(), account, is_open, reason };
                tasks.spawn("account retry", ExitPolicy::Continue, again.run(tasks.shutdown().clone()));
                None
            }
        }
    }
}

fn report(account: &config::AccountSettings, error: &anyhow::Error) -> String {
    let reason = format!("{error:#}");
    tracing::error!(account = %account.name, error = reason, "failed to open account, will retry");
    reason
}

/// Retries to open an account until it succeeds.
struct OpenRetry {
    shared: OpenContext,
    runners: AccountTasks,
    account: config::AccountSettings,
    is_open: Gauge,
    reason: String,
}

impl OpenRetry {
    async fn run(mut self, shutdown: Shutdown) {
        let interval = self.shared.settings.account_retry_interval;
        let clock = self.shared.clock.clone();
        while shutdown.run_until_cancelled(clock.sleep(interval)).await.is_some() {
            let (shared, account) = (self.shared.clone(), self.account.clone());
            match tokio::task::spawn_blocking(move || account::open(&shared, &account)).await {
                Ok(Ok(opened)) if !shutdown.is_cancelled() => {
                    self.runners.gateway.add(opened.handle());
                    opened.spawn(&self.runners);
                    self.is_open.set(1);
                    tracing::info!(account = %self.account.name, "account opened");
                    return;
                }
                Ok(Ok(_)) => return,
                Ok(Err(error)) if format!("{error:#}") != self.reason => {
                    self.reason = report(&self.account, &error);
                    self.runners.gateway.add_failed(self.account.name.clone(), self.reason.clone());
                }
                // Logged at the first failure.
                Ok(Err(_)) => {}
                Err(panic) => tracing::error!(account = %self.account.name, %panic, "panic while opening account"),
            }
        }
    }
}
