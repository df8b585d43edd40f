//! Opens the rules of an account.

use std::sync::Arc;

use anyhow::Context;
use tokio::sync::Mutex;

use super::open_context::OpenContext;
use super::rule_events::{RuleAnnouncements, RuleAnnouncer};
use crate::config;
use crate::hub::Hub;
use crate::query::QuerySettings;
use crate::rules::{
    self, AccountRules, AccountRulesParts, AuditFile, LanguageChecker, ObserverMetrics, ObserverParts, RuleExecutor,
    RuleObserver, StateDir,
};
use crate::xapi::Credentials;

/// The tasks about the rules of an account.
pub(super) struct RuleTasks {
    pub(super) executor: RuleExecutor,
    pub(super) observer: RuleObserver,
    pub(super) announcer: SharedAnnouncer,
}

/// The announcer, which each leadership runs with its queue, one after the other.
pub(super) type SharedAnnouncer = Arc<Mutex<RuleAnnouncer>>;

/// Opens the rules of an account. Their state is not in the directory of the log: a new log must not renew the budget.
pub(super) fn open(
    shared: &OpenContext,
    account: &config::AccountSettings,
    hub: &Arc<Hub>,
) -> anyhow::Result<RuleTasks> {
    let OpenContext { settings, clock, metrics, .. } = shared;
    let (config, name) = (settings.rules.clone(), account.name.clone());
    let dir = settings.data_dir.join("rules");
    let store = StateDir::create(&dir, name.as_str()).context("failed to create directory of rules")?;
    let audit = dir.join(format!("{name}.audit.jsonl"));
    let observer = RuleObserver::open(ObserverParts {
        account: name.clone(),
        config: config.observer(),
        language: QuerySettings::default(),
        clock: clock.clone(),
        file: Some(dir.join(format!("{name}.evidence.json"))),
        metrics: metrics.account(&name, ObserverMetrics::register),
    });
    let (events, changes) = RuleAnnouncements::new(observer.observations());
    let rules = Arc::new(AccountRules::open(AccountRulesParts {
        policy: config.policy(&account.rules),
        clock: clock.clone(),
        store: Arc::new(store),
        checker: Arc::new(LanguageChecker::default()),
        events: events.clone(),
        audit: AuditFile::new(Some(audit), config.audit_bytes_max, config.audit_files_max),
        account: name.clone(),
    }));
    metrics.account(&name, |part| rules::register_metrics(&rules, part));
    let announcer = RuleAnnouncer { rules: rules.clone(), events, changes, hub: hub.clone() };
    let executor = RuleExecutor {
        rules,
        transport: shared.rule_transport.clone(),
        base_url: account.url.clone(),
        credentials: Credentials::new(account.bearer.clone()),
        config,
        files: account.rules.files.clone(),
        clock: clock.clone(),
    };
    Ok(RuleTasks { executor, observer, announcer: Arc::new(Mutex::new(announcer)) })
}
