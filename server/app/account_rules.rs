//! Opens the rules of an account.

use std::sync::Arc;

use anyhow::Context;

use super::open_context::OpenContext;
use crate::config;
use crate::rules::{
    self, AccountRules, AccountRulesParts, AuditFile, IgnoredRuleEvents, LanguageChecker, RuleExecutor, StateDir,
};
use crate::xapi::Credentials;

/// Opens the rules of an account. Their state is not in the directory of the log: a new log must not renew the budget.
pub(super) fn open(shared: &OpenContext, account: &config::Account) -> anyhow::Result<RuleExecutor> {
    let OpenContext { settings, clock, metrics, .. } = shared;
    let (config, name) = (settings.rules.clone(), account.name.clone());
    let dir = settings.data_dir.join("rules");
    let store = StateDir::create(&dir, name.as_str()).context("failed to create directory of rules")?;
    let audit = dir.join(format!("{name}.audit.jsonl"));
    let rules = Arc::new(AccountRules::open(AccountRulesParts {
        policy: config.policy(&account.rules),
        clock: clock.clone(),
        store: Arc::new(store),
        checker: Arc::new(LanguageChecker::default()),
        events: Arc::new(IgnoredRuleEvents),
        audit: AuditFile::new(Some(audit), config.audit_bytes_max, config.audit_files_max),
        account: name.clone(),
    }));
    metrics.account(&name, |part| rules::register_metrics(&rules, part));
    Ok(RuleExecutor {
        rules,
        transport: shared.rule_transport.clone(),
        base_url: account.url.clone(),
        credentials: Credentials::new(account.bearer.clone()),
        config,
        files: account.rules.files.clone(),
        clock: clock.clone(),
    })
}
