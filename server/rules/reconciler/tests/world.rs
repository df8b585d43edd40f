//! A gateway with its file, and X, with faults of requests.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::*;
use crate::rules::budget::{RequestLimits, RunningTime};
use crate::rules::outcome::{of_add, of_delete, of_get};
use crate::rules::planner::{OldRule, RuleAddition, XLimits};
use crate::rules::rule::{WantedRule, meaning};
use crate::rules::sets::StoredSet;
use crate::rules::state::{RulesState, decode, encode};
use crate::xapi::{Headers, RuleAnswer, RuleFailure};

pub(super) const SMALL: XLimits = XLimits { rules_max: 12, rules_per_request_max: 4, value_units_max: 9 };

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// No connection.
    NotSent,
    /// X did nothing, and the answer is lost.
    LostBefore,
    /// X did it, and the answer is lost.
    LostAfter,
    /// X did it, and answers with an HTML page.
    Page,
    /// X did nothing, and answers 503.
    Unavailable,
    /// X refuses without naming a rule.
    RefusesAll,
    /// 429.
    Limited,
    /// X adds only the first rule, and reports nothing else.
    Partial,
    /// The gateway is killed before the charge is on disk.
    KillBeforeWrite,
    /// The gateway is killed before the request leaves.
    KillBeforeSend,
    /// The gateway is killed after X did it.
    KillAfterSend,
    /// The gateway is killed after it has applied the answer, before the next write.
    KillBeforeLastWrite,
    /// Another client adds a rule and deletes one.
    Foreign,
}

pub(super) struct Server {
    pub rules: Vec<(u64, String, String)>,
    pub next_id: u64,
    pub received: Vec<u64>,
    pub limits: XLimits,
}

impl Server {
    pub fn list(&self) -> Value {
        let rule = |(id, value, tag): &(u64, String, String)| json!({"id": id.to_string(), "value": value, "tag": tag});
        json!({"data": {"rules": self.rules.iter().map(rule).collect::<Vec<_>>()}})
    }

    pub fn has(&self, value: &str) -> bool {
        self.rules.iter().any(|(_, own, _)| own == value)
    }

    pub fn add(&mut self, rules: &[RuleAddition]) -> (u16, Value) {
        assert!((1..=self.limits.rules_per_request_max).contains(&rules.len()));
        let is_bad = |rule: &RuleAddition| meaning(&rule.value).starts_with('-');
        if rules.iter().any(is_bad) {
            let detail = rules.iter().map(|rule| match is_bad(rule) {
                true => json!({"rule": {"value": rule.value}, "created": false, "message": "bad"}),
                false => json!({"rule": {"value": rule.value}, "created": false}),
            });
            return (422, json!({"detail": detail.collect::<Vec<_>>()}));
        }
        let fresh = rules.iter().filter(|rule| !self.has(&rule.value)).count();
        if self.rules.len() + fresh > self.limits.rules_max {
            return (422, json!({"error": {"message": "Request exceeds account's Rule Limit."}}));
        }
        let (mut added, mut errors) = (Vec::new(), Vec::new());
        for rule in rules {
            if self.has(&rule.value) {
                errors.push(json!({"value": rule.value, "title": "DuplicateRule"}));
                continue;
            }
            self.next_id += 1;
            self.rules.push((self.next_id, rule.value.clone(), rule.tag.clone()));
            added.push(json!({"id": self.next_id, "value": rule.value, "tag": rule.tag}));
        }
        (201, json!({"data": {"rules": added}, "errors": errors}))
    }

    pub fn delete(&mut self, rules: &[OldRule]) -> (u16, Value) {
        assert!((1..=self.limits.rules_per_request_max).contains(&rules.len()));
        let before = self.rules.len();
        self.rules.retain(|(_, value, _)| rules.iter().all(|rule| rule.value != *value));
        let deleted = before - self.rules.len();
        (200, json!({"data": {"deleted": deleted, "not_deleted": rules.len() - deleted}}))
    }

    pub fn meanings(&self) -> BTreeSet<String> {
        self.rules.iter().map(|(_, value, _)| meaning(value).to_owned()).collect()
    }
}

/// A gateway, its file, and X.
pub(super) struct World {
    pub gateway: Reconciler,
    pub file: Vec<u8>,
    pub server: Server,
    /// True time in seconds, when this process started, and the running time then.
    pub now: u64,
    pub started: (u64, RunningTime),
    /// Another client has changed the rules since they were last read.
    pub disturbed: bool,
}

fn policy(limits: XLimits) -> Policy {
    let budget = RequestLimits { requests_max: 50, reserve: 10 };
    Policy { mode: Mode::Manage, limits, budget, ..Policy::default() }
}

impl World {
    pub fn new(limits: XLimits) -> Self {
        let server = Server { rules: Vec::new(), next_id: 734_861_971_116_285_952, received: Vec::new(), limits };
        let gateway = Reconciler::new(RulesState::default(), policy(limits));
        let mut world =
            Self { gateway, file: Vec::new(), server, now: 0, started: (0, RunningTime::default()), disturbed: false };
        world.persist();
        world
    }

    pub fn persist(&mut self) {
        self.file = encode(&self.gateway.state).expect("encoded");
    }

    pub fn restart(&mut self) {
        let state = decode(&self.file).expect("our own file");
        self.started = (self.now, state.budget.persisted_at());
        self.gateway = Reconciler::new(state, self.gateway.policy.clone());
    }

    pub fn now(&self) -> Now {
        let running = Duration::from_secs(self.now - self.started.0);
        let time = UnixMillis(1_700_000_000_000).plus(Duration::from_secs(self.now));
        Now { running: self.started.1.plus(running), time }
    }

    pub fn apply(&mut self, set: &str, rules: &[(&str, &str)]) {
        let rule = |(n, (value, tag)): (usize, &(&str, &str))| WantedRule {
            name: format!("r{n}"),
            value: (*value).to_owned(),
            tag: (*tag).to_owned(),
            note: String::new(),
        };
        let now = self.now();
        let stored = StoredSet {
            rules: rules.iter().enumerate().map(rule).collect(),
            changed_time: now.time,
            ..StoredSet::default()
        };
        self.gateway.state.sets.insert(set.to_owned(), stored);
        self.gateway.on_change("rpc", now).force = true;
        self.persist();
    }

    /// Makes the next request, with this fault, or lets time pass. Returns false if nothing is left to do.
    pub fn step(&mut self, fault: Fault) -> bool {
        let now = self.now();
        let action = match self.gateway.next(now) {
            ReconcilerStep::Wait(None) => return false,
            ReconcilerStep::Wait(Some(wait)) => {
                self.now += wait.as_secs() + 1;
                return true;
            }
            action => action,
        };
        if !self.gateway.begin(&action, now) {
            panic!("{action:?} was affordable");
        }
        if fault == Fault::KillBeforeWrite {
            self.restart();
            return true;
        }
        self.persist();
        if fault == Fault::KillBeforeSend {
            self.restart();
            return true;
        }
        let answer = self.answer(&action, fault);
        self.now += 1;
        if fault == Fault::KillAfterSend {
            self.restart();
            return true;
        }
        let now = self.now();
        match &action {
            ReconcilerStep::Read => {
                let read = of_get(answer);
                self.disturbed &= read.is_err();
                self.gateway.on_read(read, (None, None), now);
            }
            ReconcilerStep::Send(step @ Step::Add(rules)) => {
                self.gateway.on_step(step, of_add(rules, &answer), (None, None), now);
            }
            ReconcilerStep::Send(step @ Step::Delete { rules, .. }) => {
                self.gateway.on_step(step, of_delete(rules, &answer), (None, None), now);
            }
            ReconcilerStep::Wait(_) => {}
        }
        if fault == Fault::KillBeforeLastWrite {
            self.restart()
        } else {
            self.persist()
        }
        true
    }

    pub fn answer(&mut self, action: &ReconcilerStep, fault: Fault) -> Result<RuleAnswer, RuleFailure> {
        let read =
            |status: u16, body: &str| Ok(RuleAnswer::read(status, Headers::default(), Some(body.as_bytes()), ""));
        if fault == Fault::NotSent {
            return Err(RuleFailure::NotSent("refused".to_owned()));
        }
        self.server.received.push(self.now);
        match fault {
            Fault::LostBefore => return Err(RuleFailure::Unanswered("reset".to_owned())),
            Fault::Unavailable => return read(503, "<html>"),
            Fault::Limited => return read(429, "{}"),
            Fault::RefusesAll if *action != ReconcilerStep::Read => return read(400, r#"{"title":"Invalid Request"}"#),
            _ => {}
        }
        if fault == Fault::Foreign {
            self.disturbed = true;
            self.server.next_id += 1;
            self.server.rules.truncate(SMALL.rules_max - 2);
            let (id, value) = (self.server.next_id, format!("f{}", self.server.next_id % 1_000));
            self.server.rules.push((id, value, "foreign".to_owned()));
            self.server.rules.remove(0);
        }
        let before = self.server.meanings();
        let (status, body) = match action {
            ReconcilerStep::Send(Step::Add(rules)) if fault == Fault::Partial => self.server.add(&rules[..1]),
            ReconcilerStep::Send(Step::Add(rules)) => self.server.add(rules),
            ReconcilerStep::Send(Step::Delete { rules, coverage_break }) => {
                let answer = self.server.delete(rules);
                if !coverage_break && !self.disturbed {
                    self.check_covered(&before);
                }
                answer
            }
            ReconcilerStep::Read | ReconcilerStep::Wait(_) => (200, self.server.list()),
        };
        match fault {
            Fault::LostAfter => Err(RuleFailure::Unanswered("reset".to_owned())),
            Fault::Page => read(status, "<html>"),
            _ => read(status, &body.to_string()),
        }
    }

    /// A wanted rule that X had before a deletion is still there.
    pub fn check_covered(&self, before: &BTreeSet<String>) {
        let after = self.server.meanings();
        for rule in self.gateway.state.sets.values().flat_map(|set| &set.rules) {
            let wanted = meaning(&rule.value);
            assert!(!before.contains(wanted) || after.contains(wanted), "{wanted} was wanted");
        }
    }

    /// Works without faults until nothing is left. Returns the number of requests.
    pub fn settle(&mut self) -> usize {
        let before = self.server.received.len();
        for _ in 0..10_000 {
            if !self.step(Fault::None) {
                return self.server.received.len() - before;
            }
        }
        panic!("{:?}", self.gateway.next(self.now()));
    }

    pub fn check_budget(&self) {
        for (n, from) in self.server.received.iter().enumerate() {
            let window = self.server.received[n..].iter().take_while(|time| **time < from + 24 * 3_600);
            assert!(window.count() <= 50);
        }
    }

    pub fn check_converged(&self) {
        let has = |rule: &WantedRule| {
            self.server.rules.iter().any(|(_, value, tag)| meaning(value) == meaning(&rule.value) && *tag == rule.tag)
        };
        for rule in self.gateway.state.sets.values().flat_map(|set| &set.rules) {
            assert_eq!(has(rule), !rule.value.starts_with('-'), "{rule:?} {:?}", self.server.rules);
        }
        let known = &self.gateway.state.known.as_ref().expect("read").rules;
        assert_eq!(known.len(), self.server.rules.len());
        assert!(self.gateway.state.operation.is_none());
        assert!(self.server.rules.len() <= self.server.limits.rules_max);
    }
}
