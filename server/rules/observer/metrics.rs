use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::rules::calibration::Agreement;
use crate::rules::evidence::MatchSet;

/// Maximum sets with a label of their own. Further ones count as `other`.
const SETS_MAX: usize = 100;

/// Metrics of the observer. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct ObserverMetrics {
    matches: Family<SetLabel, Counter>,
    calibration: Family<CalibrationLabels, Counter>,
    sets: Arc<Mutex<HashSet<Arc<str>>>>,
    /// Posts that were not observed because the queue was full.
    pub dropped: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SetLabel {
    set: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CalibrationLabels {
    operator: &'static str,
    verdict: &'static str,
}

impl ObserverMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        let help = "Total rules named by logged posts, by the set of the rule; sets past 100 are other";
        registry.register("rule_matches", help, own.matches.clone());
        let help = "Total comparisons of a rule with a post that X or the gateway matched, by operator of the rule";
        registry.register("rule_calibration", help, own.calibration.clone());
        let help = "Total posts whose rules were not counted because the observer's queue was full";
        registry.register("rule_posts_dropped", help, own.dropped.clone());
        for set in ["unmanaged", "unknown"] {
            drop(own.matches.get_or_create(&SetLabel { set: set.to_owned() }));
        }
        for agreement in Agreement::ALL {
            drop(own.calibration.get_or_create(&CalibrationLabels { operator: "keyword", verdict: agreement.name() }));
        }
        own
    }

    pub(super) fn count_match(&self, set: MatchSet<'_>) {
        let set = match set {
            MatchSet::Set(set) => self.label(set),
            MatchSet::Unmanaged => "unmanaged".to_owned(),
            MatchSet::Unknown => "unknown".to_owned(),
        };
        self.matches.get_or_create(&SetLabel { set }).inc();
    }

    fn label(&self, set: &Arc<str>) -> String {
        let mut sets = self.sets.lock();
        if sets.contains(set) {
            return set.to_string();
        }
        if sets.len() >= SETS_MAX {
            return "other".to_owned();
        }
        sets.insert(set.clone());
        set.to_string()
    }

    pub(super) fn count_comparison(&self, operator: &'static str, agreement: Agreement) {
        self.calibration.get_or_create(&CalibrationLabels { operator, verdict: agreement.name() }).inc();
    }
}
