use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::budget::Method;
use super::change::{ChangeError, ChangeReport};
use super::operation::OperationState;
use super::outcome::Outcome;
use crate::query::Code;

/// Bounds of the duration of operations, in seconds: from one request to a day of waiting for the budget.
const OPERATION_BOUNDS: [f64; 12] =
    [1.0, 5.0, 15.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 7_200.0, 21_600.0, 43_200.0, 86_400.0];

/// Metrics of rules. Clones share the counters.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    findings: Family<FindingLabel, Counter>,
    operations: Family<OperationLabel, Histogram, fn() -> Histogram>,
    /// Signs that another client changed the rules.
    pub drift: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabel {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    outcome: &'static str,
}

fn operation_seconds() -> Histogram {
    Histogram::new(OPERATION_BOUNDS)
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            findings: Family::default(),
            operations: Family::new_with_constructor(operation_seconds),
            drift: Counter::default(),
        }
    }
}

impl Metrics {
    /// Counts a request.
    pub(super) fn count_request(&self, method: Method, outcome: &'static str) {
        self.requests.get_or_create(&RequestLabels { method: method.name(), outcome }).inc();
    }

    /// Counts the findings about rules that a caller or a file wanted.
    pub(super) fn count_findings(&self, checked: &Result<ChangeReport, ChangeError>) {
        let findings = match checked {
            Ok(report) => &report.findings,
            Err(ChangeError::Findings(findings)) => findings,
            Err(_) => return,
        };
        for (_, finding) in findings {
            self.findings.get_or_create(&FindingLabel { code: finding.code.as_str() }).inc();
        }
    }

    /// Observes an operation that has ended.
    pub(super) fn observe_operation(&self, state: OperationState, duration: Duration) {
        self.operations.get_or_create(&OperationLabel { outcome: state.name() }).observe(duration.as_secs_f64());
    }

    /// Registers the counters and the durations.
    pub(super) fn register(&self, registry: &mut Registry) {
        let own = self;
        registry.register("rule_requests", "Total requests about rules, by method and outcome", own.requests.clone());
        registry.register(
            "rule_findings",
            "Total findings about rules that were to be applied, by code",
            own.findings.clone(),
        );
        registry.register(
            "rule_operation_seconds",
            "Time from the first change of an operation to its end, by outcome",
            own.operations.clone(),
        );
        registry.register("rules_drift", "Total signs that another client changed the rules at X", own.drift.clone());
        for method in [Method::Get, Method::Post, Method::Delete] {
            for outcome in Outcome::NAMES {
                own.requests.get_or_create(&RequestLabels { method: method.name(), outcome }).inc_by(0);
            }
        }
        for code in Code::ALL {
            own.findings.get_or_create(&FindingLabel { code: code.as_str() }).inc_by(0);
        }
        for state in [OperationState::Succeeded, OperationState::Failed, OperationState::Cancelled] {
            drop(own.operations.get_or_create(&OperationLabel { outcome: state.name() }));
        }
    }
}
