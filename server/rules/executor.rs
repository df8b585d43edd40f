//! The task that makes the requests about the rules of an account, one at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::account_rules::AccountRules;
use super::audit::AuditLine;
use super::budget::Method;
use super::config::Config;
use super::outcome::{of_add, of_delete, of_get};
use super::planner::Step;
use super::reconciler::ReconcilerStep;
use super::wanted_files::read_wanted;
use crate::clock::Clock;
use crate::task::{self, Shutdown};
use crate::xapi::{Credentials, RuleAnswer, RuleCommand, RuleFailure, RuleKey, RuleRequest, RuleTransport};

/// Wait after the state could not be written.
const DISK_RETRY: Duration = Duration::from_secs(10);
/// Interval at which the running time is persisted.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(600);

/// Makes the requests about the rules of an account.
pub struct RuleExecutor {
    /// The rules.
    pub rules: Arc<AccountRules>,
    /// Makes requests.
    pub transport: Arc<dyn RuleTransport>,
    /// Origin of the API.
    pub base_url: Url,
    /// The account's bearer token, read again before each request.
    pub credentials: Credentials,
    /// Settings.
    pub config: Config,
    /// Files with wanted rules.
    pub files: Vec<PathBuf>,
    /// Clock.
    pub clock: Clock,
}

impl RuleExecutor {
    /// Runs until shutdown. A request in progress may end within `rules.stop_timeout`; after that its outcome counts as
    /// unknown, and a restart reads the rules again.
    pub async fn run(self, shutdown: Shutdown) {
        let stop = async {
            shutdown.cancelled().await;
            self.clock.sleep(self.config.stop_timeout).await;
        };
        tokio::select! {
            () = self.work(&shutdown) => {}
            () = stop => {}
        }
        let rules = self.rules.clone();
        self.blocking(move || rules.checkpoint()).await;
    }

    /// Works until shutdown, which is looked at between requests only.
    async fn work(&self, shutdown: &Shutdown) {
        let mut changes = self.rules.changes();
        let mut checkpoint = self.clock.moment().plus(CHECKPOINT_INTERVAL);
        while !shutdown.is_cancelled() {
            changes.mark_unchanged();
            self.read_files().await;
            if self.clock.moment() >= checkpoint {
                checkpoint = self.clock.moment().plus(CHECKPOINT_INTERVAL);
                let rules = self.rules.clone();
                self.blocking(move || rules.checkpoint()).await;
            }
            let rules = self.rules.clone();
            let wait = match self.blocking(move || rules.begin()).await.flatten() {
                Some(ReconcilerStep::Wait(wait)) => wait.unwrap_or(CHECKPOINT_INTERVAL),
                Some(action) => {
                    self.act(action).await;
                    continue;
                }
                None => DISK_RETRY,
            };
            let wait = if self.files.is_empty() { wait } else { wait.min(self.config.files_interval) };
            // Ends early when something has changed, or at shutdown.
            let woken = self.clock.timeout(wait.min(CHECKPOINT_INTERVAL), changes.changed());
            let _ = shutdown.run_until_cancelled(woken).await;
        }
    }

    /// Applies the configured files, if they have changed.
    async fn read_files(&self) {
        if self.files.is_empty() {
            return;
        }
        let (rules, files) = (self.rules.clone(), self.files.clone());
        self.blocking(move || match read_wanted(&files) {
            Ok(read) => rules.apply_files(read),
            Err(error) => rules.refuse_files(&error),
        })
        .await;
    }

    /// Makes a request that was charged, and applies its outcome.
    async fn act(&self, action: ReconcilerStep) {
        let command = match &action {
            ReconcilerStep::Read => RuleCommand::List,
            ReconcilerStep::Send(Step::Add(rules)) => {
                RuleCommand::Add(rules.iter().map(|rule| (rule.value.clone(), rule.tag.clone())).collect())
            }
            ReconcilerStep::Send(Step::Delete { rules, .. }) => RuleCommand::Delete(
                rules.iter().map(|rule| RuleKey { value: rule.value.clone(), tag: rule.tag.clone() }).collect(),
            ),
            ReconcilerStep::Wait(_) => return,
        };
        let started = self.clock.moment();
        let answer = self.request(command).await;
        let duration = self.clock.moment().since(started);
        let rules = self.rules.clone();
        self.blocking(move || finish(&rules, &action, answer, duration)).await;
    }

    async fn request(&self, command: RuleCommand) -> Result<RuleAnswer, RuleFailure> {
        let bearer = self.credentials.bearer().map_err(|error| RuleFailure::NotSent(error.to_string()))?;
        let response_bytes_max = self.config.response_bytes_max;
        let request = RuleRequest { base_url: self.base_url.clone(), bearer, command, response_bytes_max };
        let timeout = self.config.request_timeout;
        match self.clock.timeout(timeout, self.transport.request(&request)).await {
            Ok(answer) => answer,
            Err(_) => Err(RuleFailure::Unanswered(format!("within {}", humantime::format_duration(timeout)))),
        }
    }

    /// Runs work that blocks on the disk. `None` if it panicked.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match task::blocking(work).await {
            Ok(result) => Some(result),
            Err(panic) => {
                tracing::error!(account = %self.rules.account(), %panic, "work on rules panicked");
                None
            }
        }
    }
}

/// Applies the outcome of a request, counts it, and writes it to log and audit file.
fn finish(rules: &AccountRules, action: &ReconcilerStep, answer: Result<RuleAnswer, RuleFailure>, duration: Duration) {
    let transaction = answer.as_ref().ok().and_then(|answer| answer.headers.transaction_id.clone()).unwrap_or_default();
    let status = answer.as_ref().map_or(0, |answer| answer.status);
    let detail = answer.as_ref().map_or_else(ToString::to_string, |answer| answer.detail.clone());
    let operation = rules.status().operation.map(|operation| operation.id);
    let seen = answer.as_ref().ok().cloned();
    let (method, count, name) = match action {
        ReconcilerStep::Read => {
            let result = of_get(answer);
            let name = result.as_ref().err().map_or("ok", |outcome| outcome.name());
            rules.on_read(result, seen.as_ref());
            (Method::Get, 0, name)
        }
        ReconcilerStep::Send(step) => {
            let (method, count, outcome) = match step {
                Step::Add(sent) => (Method::Post, sent.len(), of_add(sent, &answer)),
                Step::Delete { rules, .. } => (Method::Delete, rules.len(), of_delete(rules, &answer)),
            };
            let name = outcome.name();
            rules.on_step(step, outcome, seen.as_ref());
            (method, count, name)
        }
        ReconcilerStep::Wait(_) => return,
    };
    rules.metrics().count_request(method, name);
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let operation = operation.filter(|_| method != Method::Get);
    let (method, transaction, detail) = (method.name(), transaction.as_str(), detail.as_str());
    rules.audit(&AuditLine::Request {
        operation,
        method,
        rules: count,
        status,
        transaction,
        duration_ms,
        outcome: name,
        detail,
    });
    let account = rules.account();
    if name == "ok" {
        tracing::info!(%account, method, rules = count, status, transaction, duration_ms, "rule request answered");
    } else {
        tracing::warn!(
            %account, method, rules = count, status, transaction, duration_ms, outcome = name, detail, "rule request failed",
        );
    }
}
