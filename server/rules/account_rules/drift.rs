//! Ids that posts name and that are not known: another client has changed the rules.

use std::time::Duration;

use super::{AccountRules, Inner};
use crate::rules::reconciler::Now;
use crate::xapi::RuleId;

/// Unknown ids that are kept.
const IDS_MAX: usize = 100;
/// Time that an id stays unknown before the rules are read: the answer that contains it may be under way.
const SETTLE: Duration = Duration::from_secs(60);

impl AccountRules {
    /// Reports that a post names a rule that is not known. The rules are read again, at most once per
    /// `rules.drift_refresh_interval`. Cheap: call it for each such post.
    pub fn note_unknown_rule(&self, id: &RuleId) {
        let moment = self.clock.moment();
        let mut inner = self.inner.lock();
        let is_new = !inner.unknown_ids.contains_key(id) && inner.unknown_ids.len() < IDS_MAX && !inner.is_known(id);
        if !is_new {
            return;
        }
        inner.unknown_ids.insert(id.clone(), moment);
        drop(inner);
        self.metrics.drift.inc();
        tracing::warn!(account = %self.account, rule_id = %id, "post names a rule that is not known");
        self.notify();
    }

    /// Has the rules read if ids are unknown for long enough. Returns the time until that is to be looked at again.
    pub(super) fn read_after_drift(&self, inner: &mut Inner, now: Now) -> Option<Duration> {
        let known: Vec<_> = inner.unknown_ids.keys().filter(|id| inner.is_known(id)).cloned().collect();
        for id in known {
            inner.unknown_ids.remove(&id);
        }
        let moment = self.clock.moment();
        let oldest = inner.unknown_ids.values().min().map(|first| moment.since(*first))?;
        match SETTLE.checked_sub(oldest).filter(|left| !left.is_zero()) {
            Some(left) => Some(left),
            None => inner.reconciler.read_after_drift(now),
        }
    }
}

impl Inner {
    fn is_known(&self, id: &RuleId) -> bool {
        let known = self.reconciler.state.known.iter().flat_map(|known| &known.rules);
        known.filter_map(|rule| rule.id.as_ref()).any(|own| own == id)
    }
}
