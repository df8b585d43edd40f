//! Metrics of an account's rules that are computed when they are read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::account_rules::AccountRules;
use super::view::RuleState;
use crate::telemetry::metrics::ComputedGauge;

/// Sets with a label of their own; further ones have `other` together, because callers choose their names.
const SETS_MAX: usize = 50;

/// Registers the metrics of an account's rules. Gauges read the rules as long as they exist.
pub fn register(rules: &Arc<AccountRules>, registry: &mut Registry) {
    rules.metrics().register(registry);
    let weak = Arc::downgrade(rules);
    let mut gauge = |name: &str, help: &str, value: fn(&AccountRules) -> f64| {
        let rules = weak.clone();
        registry.register(name, help, ComputedGauge::new(move || rules.upgrade().map_or(0.0, |rules| value(&rules))));
    };
    gauge("rule_budget_limit", "Maximum requests about rules in 24 hours (rules.requests_max)", |rules| {
        rules.budget().limit as f64
    });
    gauge("rule_budget_reserve", "Requests of the budget that ordinary work may not use (rules.reserve)", |rules| {
        rules.budget().reserve as f64
    });
    gauge("rule_budget_remaining", "Requests about rules that remain in 24 hours, reserve included", |rules| {
        let budget = rules.budget();
        budget.limit.saturating_sub(budget.used) as f64
    });
    gauge(
        "rule_budget_x_remaining",
        "Requests about rules that remain by X's count; -1 if it reported none",
        |rules| rules.budget().x_remaining.map_or(-1.0, |remaining| remaining as f64),
    );
    gauge("rules_converged", "Whether X has what the sets want, as far as X accepts it (1) or not (0)", |rules| {
        f64::from(u8::from(rules.status().is_converged))
    });
    gauge("rules_denied", "Whether X refuses the credential of requests about rules (1) or not (0)", |rules| {
        f64::from(u8::from(!rules.status().denied.is_empty()))
    });
    gauge("rules_unusable", "Whether the state of the rules cannot be read (1) or not (0)", |rules| {
        f64::from(u8::from(!rules.status().damaged.is_empty()))
    });
    gauge("rule_sets_refused", "Sets whose changes are not applied: refused files, suspended sets", |rules| {
        let suspended = rules.list().sets.iter().filter(|set| !set.suspended_reason.is_empty()).count();
        (suspended + usize::from(!rules.status().refused_files.is_empty())) as f64
    });
    registry.register_collector(Box::new(RulesCollector(weak)));
}

/// Rules by set and state, and rules that wait.
struct RulesCollector(Weak<AccountRules>);

impl fmt::Debug for RulesCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RulesCollector").finish_non_exhaustive()
    }
}

impl Collector for RulesCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(rules) = self.0.upgrade() else { return Ok(()) };
        let counts = count(&rules);
        let mut family = encoder.encode_descriptor("rules", "Rules, by set and state", None, MetricType::Gauge)?;
        for ((set, state), number) in &counts {
            let labels = [("set", set.as_str()), ("state", state.name())];
            ConstGauge::new(*number).encode(family.encode_family(&labels)?)?;
        }
        let (adds, deletes) = rules.status().pending;
        let help = "Rules that are to be added to or deleted from X, by kind";
        let mut family = encoder.encode_descriptor("rules_pending", help, None, MetricType::Gauge)?;
        for (kind, number) in [("add", adds), ("delete", deletes)] {
            ConstGauge::new(number as i64).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        Ok(())
    }
}

/// Counts the rules of the first sets by name; the others as `other`. Rules in no set have an empty name.
fn count(rules: &AccountRules) -> BTreeMap<(String, RuleState), i64> {
    let mut counts: BTreeMap<(String, RuleState), i64> = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    for state in RuleState::ALL {
        counts.insert((String::new(), state), 0);
    }
    for rule in rules.list().rules {
        let set = rule.name.map(|name| name.set).unwrap_or_default();
        let is_named = set.is_empty() || names.contains(&set) || names.len() < SETS_MAX;
        let label = if is_named { set } else { "other".to_owned() };
        if !label.is_empty() && !names.contains(&label) {
            names.push(label.clone());
        }
        *counts.entry((label, rule.state)).or_default() += 1;
    }
    counts
}
