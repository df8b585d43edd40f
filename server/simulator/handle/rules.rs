use super::SimulatorHandle;
use crate::simulator::config::InitialRule;
use crate::simulator::faults::{Repeat, RuleFault, RuleRequestFilter};
use crate::simulator::rules::{AddResult, NewRule, RuleError, RuleRequestRecord, StoredRule};

impl SimulatorHandle {
    /// The rules.
    pub fn rules(&self) -> Vec<StoredRule> {
        self.state.rules.list()
    }

    /// Adds rules without a request: none is counted, and they match at once. Rules whose value exists stay as they
    /// are. Returns all of them.
    pub fn add_rules(&self, rules: &[InitialRule]) -> Result<Vec<StoredRule>, RuleError> {
        let wanted: Vec<NewRule> = rules.iter().map(NewRule::from).collect();
        let added = self.state.rules.add(&wanted, || self.state.mint(0).id.0, self.state.clock.moment())?;
        Ok(added.into_iter().map(|(AddResult::New(rule) | AddResult::Duplicate(rule))| rule).collect())
    }

    /// Removes the rule with this value, without a request; true if there was one.
    pub fn remove_rule(&self, value: &str) -> bool {
        let now = self.state.clock.moment();
        self.state.rules.remove(|rule| rule.value == value, now, now).is_some()
    }

    /// Adds and deletes rules as another user of the account or X does, and spends so many of the account's requests.
    /// Returns the number of rules that changed.
    pub fn change_rules(&self, add: &[InitialRule], delete: &[String], requests: u32) -> Result<usize, RuleError> {
        for _ in 0..requests {
            // Without requests left there is nothing more to spend.
            let _ = self.state.rules.spend(self.state.clock.moment());
        }
        let deleted = delete.iter().filter(|value| self.remove_rule(value)).count();
        let before = self.rules().len();
        let added = self.add_rules(add).map(|_| self.rules().len().saturating_sub(before))?;
        self.state.count(|counters| counters.rules_changed_by_others += (added + deleted) as u64);
        Ok(added + deleted)
    }

    /// Makes requests for rules fail, after earlier faults for the same requests.
    pub fn fail_rules(&self, filter: RuleRequestFilter, times: Repeat, fault: RuleFault) {
        self.state.faults.fail_rules(filter, fault, times, self.state.clock.moment());
    }

    /// No request for rules fails any more.
    pub fn clear_rule_faults(&self) {
        self.state.faults.clear_rules();
    }

    /// The last requests for rules, oldest first, those without an answer included.
    pub fn rule_requests(&self) -> Vec<RuleRequestRecord> {
        self.state.rule_requests.list()
    }
}

impl From<&InitialRule> for NewRule {
    fn from(rule: &InitialRule) -> Self {
        Self { value: rule.value.clone(), tag: rule.tag.clone() }
    }
}
