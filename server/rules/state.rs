//! State of the rules of an account, and its file.
//!
//! The file is replaced atomically and synced before a request leaves. A missing file is a first start. A file that cannot
//! be read is left as it is: the gateway then only observes, until an operator has the rules read again.

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::budget::{RuleBudget, RunningTime};
use super::events::RulesDifference;
use super::operation::{Operation, OperationId};
use super::planner::OldRule;
use super::rule::{KnownRule, RuleName, WantedRule, meaning};
use super::sets::{ADOPTED_SET, Sets};
use crate::model::UnixMillis;
use crate::state_file;
use crate::xapi::{RuleId, XRule};

/// Version of the file format.
const VERSION: u32 = 1;
/// Ended operations that are kept.
const ENDED_MAX: usize = 100;
/// Rejected texts that are kept.
const REJECTED_MAX: usize = 2_000;

/// A text that X has rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRule {
    /// The text. It is not sent again.
    pub value: String,
    /// X's words.
    pub message: String,
    /// When.
    pub time: UnixMillis,
}

/// The rules that X has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRules {
    /// The rules.
    pub rules: Vec<KnownRule>,
    /// When X last confirmed them as a whole.
    pub as_of: UnixMillis,
}

/// Everything that survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesState {
    /// Counts changes of the sets and of the known rules.
    pub revision: u64,
    /// `None` until the rules were read from X.
    pub known: Option<KnownRules>,
    /// A request has an unknown outcome: the known rules have to be read again before anything is changed.
    pub is_stale: bool,
    /// Wanted rules.
    pub sets: Sets,
    /// Texts that X has rejected.
    pub rejected: Vec<RejectedRule>,
    /// Budget of requests.
    pub budget: RuleBudget,
    /// The operation that waits or runs.
    pub operation: Option<Operation>,
    /// Ended operations, oldest first.
    pub ended: Vec<Operation>,
    /// Id of the last operation.
    pub last_operation: OperationId,
    /// Changes at X that were not announced yet, oldest first.
    #[serde(default)]
    pub unannounced: Vec<RulesDifference>,
    /// When X last acknowledged an added rule, or one was found.
    #[serde(default)]
    pub last_added: Option<RunningTime>,
    /// When the rules were last read because of drift.
    #[serde(default)]
    pub drift_read: Option<RunningTime>,
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    version: u32,
    rules: RulesState,
}

/// A state that cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The file cannot be read.
    #[error("failed to read {path}: {source}")]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        source: std::io::Error,
    },
    /// The file is not one of this gateway's.
    #[error("{path} is damaged: {detail}")]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        detail: String,
    },
}

/// Where the state is kept.
pub trait StateStore: Send + Sync {
    /// Reads the state; `None` if there is none yet.
    fn load(&self) -> Result<Option<RulesState>, StateError>;

    /// Replaces the state. When this returns, it survives a power cut; after an error the old or the new one does.
    fn save(&self, state: &RulesState) -> std::io::Result<()>;
}

/// The state in a file.
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Keeps the state of an account in a directory, which is created.
    pub fn create(dir: &Path, account: &str) -> std::io::Result<Self> {
        // For its owner only: the audit file names callers.
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self { path: dir.join(format!("{account}.json")) })
    }
}

impl StateStore for StateDir {
    fn load(&self) -> Result<Option<RulesState>, StateError> {
        let path = || self.path.clone();
        let bytes = match state_file::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Unreadable { path: path(), source }),
        };
        decode(&bytes).map(Some).map_err(|detail| StateError::Damaged { path: path(), detail })
    }

    fn save(&self, state: &RulesState) -> std::io::Result<()> {
        state_file::write_atomic(&self.path, &encode(state)?)
    }
}

/// Returns a rule in no set as a wanted one; `None` without a tag, which a wanted rule has.
fn adopted(rule: &KnownRule) -> Option<WantedRule> {
    let (id, tag) = (rule.id.as_ref()?, rule.tag.clone()?);
    Some(WantedRule { name: id.to_string(), value: rule.value.clone(), tag, note: String::new() })
}

/// Returns the file of a state.
pub fn encode(state: &RulesState) -> std::io::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Borrowed<'a> {
        version: u32,
        rules: &'a RulesState,
    }
    Ok(serde_json::to_vec(&Borrowed { version: VERSION, rules: state })?)
}

/// Reads the file of a state.
pub fn decode(bytes: &[u8]) -> Result<RulesState, String> {
    let file: StateFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match file.version {
        VERSION => Ok(file.rules),
        version => Err(format!("version {version} is not supported; this gateway writes version {VERSION}")),
    }
}

impl RulesState {
    /// Replaces the rules of a set; without rules the set does not exist.
    pub fn set_rules(&mut self, set: &str, rules: Vec<WantedRule>, now: UnixMillis) {
        if rules.is_empty() {
            self.sets.remove(set);
        } else {
            let stored = self.sets.entry(set.to_owned()).or_default();
            (stored.rules, stored.changed_time) = (rules, now);
        }
    }

    /// Makes the rules in no set the set `adopted`, under their ids.
    pub fn adopt_unmanaged(&mut self, now: UnixMillis) {
        let known = self.known.iter().flat_map(|known| &known.rules);
        let found: Vec<_> = known.filter(|rule| rule.owner.is_none()).filter_map(adopted).collect();
        if found.is_empty() {
            return;
        }
        let mut rules = self.sets.get(ADOPTED_SET).map(|set| set.rules.clone()).unwrap_or_default();
        rules.retain(|own| found.iter().all(|new| new.name != own.name));
        rules.extend(found);
        self.set_rules(ADOPTED_SET, rules, now);
        self.assign_owners();
        self.revision += 1;
    }

    /// Begins an operation, or returns the one that waits or runs.
    pub fn begin_operation(&mut self, cause: &str, now: UnixMillis) -> &mut Operation {
        let last = &mut self.last_operation;
        self.operation.get_or_insert_with(|| {
            *last += 1;
            Operation::new(*last, cause, now)
        })
    }

    /// Keeps the current operation as an ended one.
    pub fn end_operation(&mut self) {
        self.ended.extend(self.operation.take());
        let excess = self.ended.len().saturating_sub(ENDED_MAX);
        self.ended.drain(..excess);
    }

    /// Returns the id of the operation that ended last.
    pub fn last_ended(&self) -> Option<OperationId> {
        self.ended.last().map(|operation| operation.id)
    }

    /// Returns an operation.
    pub fn find_operation(&self, id: OperationId) -> Option<&Operation> {
        self.operation.iter().chain(self.ended.iter().rev()).find(|operation| operation.id == id)
    }

    /// True if X has rejected a text of this meaning.
    pub fn is_rejected(&self, value: &str) -> bool {
        self.rejected.iter().any(|rejected| meaning(&rejected.value) == meaning(value))
    }

    /// Records that X has rejected a text.
    pub fn reject(&mut self, value: &str, message: &str, time: UnixMillis) {
        self.rejected.retain(|rejected| rejected.value != value);
        self.rejected.push(RejectedRule { value: value.to_owned(), message: message.to_owned(), time });
        let excess = self.rejected.len().saturating_sub(REJECTED_MAX);
        self.rejected.drain(..excess);
    }

    /// Forgets rejected texts that no set contains any more.
    pub fn forget_rejected(&mut self) {
        let sets = &self.sets;
        let wanted =
            |value: &str| sets.values().flat_map(|set| &set.rules).any(|rule| meaning(&rule.value) == meaning(value));
        self.rejected.retain(|rejected| wanted(&rejected.value));
    }

    /// Returns the texts of the known rules.
    pub fn known_values(&self) -> HashSet<String> {
        let known = self.known.iter().flat_map(|known| &known.rules);
        known.map(|rule| rule.value.clone()).collect()
    }

    /// Returns true if a wanted rule replaces this one: it belongs to a name that a set contains.
    pub fn is_replaced(&self, rule: &OldRule) -> bool {
        let known = self.known.iter().flat_map(|known| &known.rules);
        let mut owners = known.filter(|own| own.value == rule.value).filter_map(|own| own.owner.as_ref());
        let is_wanted = |name: &RuleName| {
            self.sets.get(&name.set).is_some_and(|set| set.rules.iter().any(|wanted| wanted.name == name.name))
        };
        owners.any(is_wanted)
    }

    /// Takes the rules that X has. A rule belongs to a set if it did before, or if a set wants a rule of its meaning.
    /// Returns whether something changed that the gateway did not know.
    pub fn refresh(&mut self, found: Vec<XRule>, now: UnixMillis) -> bool {
        let before = self.known.take().map(|known| known.rules).unwrap_or_default();
        let rule = |found: XRule| {
            let earlier = before.iter().find(|own| match (&own.id, &found.id) {
                (Some(own), Some(id)) => own == id,
                _ => own.value == found.value,
            });
            let mut rule = KnownRule {
                id: found.id,
                value: found.value,
                sent_value: earlier.and_then(|own| own.sent_value.clone()),
                tag: found.tag,
                owner: earlier.and_then(|own| own.owner.clone()),
                added_time: earlier.and_then(|own| own.added_time),
                first_known_time: earlier.map_or(now, |own| own.first_known_time),
            };
            if let Some(owner) = self.owner_of(&rule) {
                rule.owner = Some(owner);
            }
            rule
        };
        let rules: Vec<_> = found.into_iter().map(rule).collect();
        let key = |rule: &KnownRule| (rule.id.clone(), rule.value.clone(), rule.tag.clone());
        let keys = |rules: &[KnownRule]| {
            let mut keys: Vec<_> = rules.iter().map(key).collect();
            keys.sort_unstable();
            keys
        };
        let changed = keys(&before) != keys(&rules);
        self.revision += u64::from(changed);
        self.known = Some(KnownRules { rules, as_of: now });
        changed
    }

    /// Returns the wanted rule that a rule at X stands for by its meaning.
    fn owner_of(&self, rule: &KnownRule) -> Option<RuleName> {
        self.sets.iter().find_map(|(set, stored)| {
            let own = stored.rules.iter().find(|wanted| rule.means(&wanted.value))?;
            Some(RuleName { set: set.clone(), name: own.name.clone() })
        })
    }

    /// Marks the rules at X that the sets want as theirs. Call this when the sets change.
    pub fn assign_owners(&mut self) {
        let Some(mut known) = self.known.take() else { return };
        for rule in &mut known.rules {
            if let Some(owner) = self.owner_of(rule) {
                rule.owner = Some(owner);
            }
        }
        self.known = Some(known);
    }

    /// Adds a rule that X has acknowledged.
    pub fn add_known(&mut self, rule: XRule, sent: &super::planner::RuleAddition, now: UnixMillis) {
        let Some(known) = &mut self.known else { return };
        known.rules.retain(|own| own.id.is_none() || own.id != rule.id);
        known.rules.push(KnownRule {
            sent_value: (sent.value != rule.value).then(|| sent.value.clone()),
            id: rule.id,
            value: rule.value,
            tag: rule.tag,
            owner: Some(sent.owner.clone()),
            added_time: Some(now),
            first_known_time: now,
        });
        self.revision += 1;
    }

    /// Removes a rule that X has deleted.
    pub fn remove_known(&mut self, id: Option<&RuleId>, value: &str) {
        let Some(known) = &mut self.known else { return };
        let is_it = |own: &KnownRule| own.value == value && (id.is_none() || own.id.as_ref() == id);
        known.rules.retain(|own| !is_it(own));
        self.revision += 1;
    }

    /// Returns the numbers of known rules that sets manage, and of the others.
    pub fn counts(&self) -> (usize, usize) {
        let rules = self.known.iter().flat_map(|known| &known.rules);
        let (managed, unmanaged): (Vec<_>, Vec<_>) = rules.partition(|rule| rule.owner.is_some());
        (managed.len(), unmanaged.len())
    }
}

#[cfg(test)]
mod tests;
