//! Connects the rules of an account with its log: announces changes as records, and returns what posts show about rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::hub::Hub;
use crate::ingest::IngestQueue;
use crate::model::{self, RulesCause, UnixMillis};
use crate::rules::evidence::{Drift, WatchedRule};
use crate::rules::{
    AccountRules, ChangedRule, OnDrift, RuleEvents, RuleObservations, RuleSightings, RuleView, RulesDifference,
};
use crate::task::{self, Shutdown};
use crate::xapi::RuleId;

/// Changes that wait to be logged; the others are offered again.
const CHANGES_MAX: usize = 64;

/// Receives changes of the rules. It has no queue of the sequencer, which ends when nothing has one any more.
pub(super) struct RuleAnnouncements {
    sender: mpsc::Sender<RulesDifference>,
    /// Offered changes by revision; true once they are logged.
    offered: Mutex<BTreeMap<u64, bool>>,
    observations: Arc<RuleObservations>,
}

/// Logs the changes, and passes the known rules to the hub and the observer.
pub(super) struct RuleAnnouncer {
    pub(super) rules: Arc<AccountRules>,
    pub(super) events: Arc<RuleAnnouncements>,
    pub(super) changes: mpsc::Receiver<RulesDifference>,
    pub(super) hub: Arc<Hub>,
}

impl RuleAnnouncements {
    /// Creates it, with the changes to be logged.
    pub(super) fn new(observations: Arc<RuleObservations>) -> (Arc<Self>, mpsc::Receiver<RulesDifference>) {
        let (sender, changes) = mpsc::channel(CHANGES_MAX);
        (Arc::new(Self { sender, offered: Mutex::default(), observations }), changes)
    }

    fn set_logged(&self, revision: u64, is_logged: bool) {
        let mut offered = self.offered.lock();
        if is_logged {
            offered.insert(revision, true);
        } else {
            offered.remove(&revision);
        }
    }
}

impl RuleEvents for RuleAnnouncements {
    /// Returns true once the change is logged, at a later offer: until then it is persisted with the rules.
    fn changed(&self, change: &RulesDifference) -> bool {
        let mut offered = self.offered.lock();
        match offered.get(&change.revision) {
            Some(true) => offered.remove(&change.revision).is_some(),
            Some(false) => false,
            None => {
                if self.sender.try_send(change.clone()).is_ok() {
                    offered.insert(change.revision, false);
                }
                false
            }
        }
    }

    fn sightings(&self, id: &RuleId) -> Option<RuleSightings> {
        let found = self.observations.sightings(number(id)?)?;
        Some(RuleSightings {
            first_seen_time: found.first_seen,
            last_seen_time: found.last_seen,
            matches_24h: found.matches_24h,
            drifted: found.has_other_tag,
        })
    }
}

impl RuleAnnouncer {
    /// Logs changes through this queue until shutdown.
    pub(super) async fn run(&mut self, queue: IngestQueue, shutdown: Shutdown) {
        let mut revisions = self.rules.changes();
        self.follow().await;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                change = self.changes.recv() => match change {
                    Some(change) => self.log(&queue, &change).await,
                    None => return,
                },
                changed = revisions.changed() => match changed {
                    Ok(()) => self.follow().await,
                    Err(_) => return,
                },
            }
        }
    }

    async fn log(&self, queue: &IngestQueue, change: &RulesDifference) {
        let is_logged = queue.log_rules(logged(change)).await;
        self.events.set_logged(change.revision, is_logged);
        if is_logged {
            // Offers it again, which takes it.
            let rules = self.rules.clone();
            self.blocking(move || rules.checkpoint()).await;
        }
    }

    /// Passes the known rules on, once they are known.
    async fn follow(&self) {
        let (rules, hub, events) = (self.rules.clone(), self.hub.clone(), self.events.clone());
        self.blocking(move || {
            let list = rules.list();
            if list.as_of.is_some() {
                let at_x = || list.rules.iter().filter(|rule| rule.id.is_some());
                hub.set_rule_tags(at_x().map(|rule| rule.tag.as_str()).filter(|tag| !tag.is_empty()));
                events.observations.set_rules(at_x().filter_map(watched).collect());
            }
        })
        .await;
    }

    async fn blocking(&self, work: impl FnOnce() + Send + 'static) {
        if task::blocking(work).await.is_err() {
            tracing::error!(account = %self.hub.account(), "failed to pass rules on");
        }
    }
}

/// Returns what follows from a change of others: the rules are read again, at most once per
/// `rules.drift_refresh_interval`.
pub(super) fn on_drift(rules: Arc<AccountRules>) -> OnDrift {
    Box::new(move |drift: &Drift| {
        let rule_id = drift.rule_id;
        if drift.is_known {
            rules.metrics().drift.inc();
            let tag = drift.tag.as_deref().unwrap_or_default();
            tracing::warn!(account = %rules.account(), rule_id, tag, "post names rule with another tag");
        } else if let Ok(id) = RuleId::new(&rule_id.to_string()) {
            rules.note_unknown_rule(&id);
        }
    })
}

fn number(id: &RuleId) -> Option<u64> {
    id.as_str().parse().ok()
}

fn watched(rule: &RuleView) -> Option<WatchedRule> {
    let value = if rule.value_at_x.is_empty() { &rule.value } else { &rule.value_at_x };
    Some(WatchedRule {
        id: number(rule.id.as_ref()?)?,
        tag: Some(rule.tag.as_str()).filter(|tag| !tag.is_empty()).map(Into::into),
        value: value.as_str().into(),
        set: rule.name.as_ref().map(|name| name.set.as_str().into()),
        effective_by: rule.added_time.map_or(UnixMillis(0), |time| time.plus(model::RulesChange::EFFECT_MAX)),
    })
}

fn logged(change: &RulesDifference) -> model::RulesChange {
    let rule = |rule: &ChangedRule| model::Rule {
        id: rule.id.as_ref().and_then(number),
        tag: rule.tag.as_deref().map(Into::into),
    };
    model::RulesChange {
        revision: change.revision,
        added: change.added.iter().map(rule).collect(),
        removed: change.removed.iter().map(rule).collect(),
        orphaned_tags: change.orphaned_tags.iter().map(|tag| tag.as_str().into()).collect(),
        cause: match change.cause.as_str() {
            "file" => RulesCause::Files,
            "rpc" => RulesCause::Call,
            _ => RulesCause::Elsewhere,
        },
        effective_by: change.time.plus(model::RulesChange::EFFECT_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_is_logged_with_ids_and_tags() {
        let rule = |id: &str, tag: Option<&str>| ChangedRule {
            id: RuleId::new(id).ok(),
            tag: tag.map(Into::into),
            value: "cat".to_owned(),
        };
        let change = RulesDifference {
            revision: 7,
            added: vec![rule("18446744073709551615", Some("cats")), rule("99999999999999999999", None)],
            removed: vec![rule("1", Some("dogs"))],
            orphaned_tags: vec!["dogs".to_owned()],
            cause: "file".to_owned(),
            time: UnixMillis(1_000),
        };
        let logged = logged(&change);
        assert_eq!((logged.revision, logged.cause, logged.effective_by), (7, RulesCause::Files, UnixMillis(301_000)));
        assert_eq!(logged.added[0], model::Rule { id: Some(u64::MAX), tag: Some("cats".into()) });
        assert_eq!(logged.added[1], model::Rule { id: None, tag: None });
        assert_eq!(logged.removed.len() + logged.orphaned_tags.len(), 2);
    }
}
