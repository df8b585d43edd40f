//! What posts show about the rules at X, without a request: when each rule was first and last named, how often in the last
//! 24 hours, which rules no post names any more, and that another client has changed the rules.
//!
//! Pure: no I/O and no clock. Memory is bounded by the number of rules that X allows, and by `RETIRED_MAX` and `UNKNOWN_MAX`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Origin, PostId, Rule, UnixMillis};

mod persisted;
mod rule_matches;
#[cfg(test)]
mod tests;

pub use persisted::{decode, encode};
use rule_matches::RuleMatches;
pub use rule_matches::Sightings;

/// A rule that matches no post for this long is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Removed rules are remembered for as long as X sends posts again: a post that names one shows no change.
const RETIRED_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Maximum removed rules that are remembered: X's 1,000 rules replaced twice.
const RETIRED_MAX: usize = 2_000;
/// Maximum unknown ids that are remembered.
const UNKNOWN_MAX: usize = 100;
/// How long an id may be unknown before it counts as a change of others: X may name a rule before its answer to the request
/// that adds it was read.
const UNKNOWN_GRACE: Duration = Duration::from_secs(120);

/// A rule at X whose matches are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedRule {
    /// Id.
    pub id: u64,
    /// Tag.
    pub tag: Option<Arc<str>>,
    /// Text.
    pub value: Arc<str>,
    /// Set that wants it; `None`: no set.
    pub set: Option<Arc<str>>,
    /// X applies it at the latest at this time.
    pub effective_by: UnixMillis,
}

/// What is read of a logged post.
#[derive(Clone, Debug)]
pub struct SeenPost {
    /// Id.
    pub id: PostId,
    /// When it was received.
    pub received: UnixMillis,
    /// How it was received.
    pub origin: Origin,
    /// Rules that it names.
    pub rules: Arc<[Rule]>,
    /// Rules that were logged before, for a post that came again.
    pub prior: Option<Arc<[Rule]>>,
    /// Payload, if the post is compared with the rules.
    pub json: Option<Box<[u8]>>,
}

/// A sign that another client has changed the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Id that posts name.
    pub rule_id: u64,
    /// Tag in these posts.
    pub tag: Option<Arc<str>>,
    /// True if the id is known, with another tag.
    pub is_known: bool,
}

/// Set of a match, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchSet<'a> {
    /// This set.
    Set(&'a Arc<str>),
    /// A known rule in no set.
    Unmanaged,
    /// A rule that is not known, or not any more.
    Unknown,
}

struct UnknownId {
    tag: Option<Arc<str>>,
    first_seen: UnixMillis,
    last_seen: UnixMillis,
    reported: bool,
}

struct KnownMatches {
    rule: WatchedRule,
    matches: RuleMatches,
}

/// Matches of the rules of an account.
#[derive(Default)]
pub struct Evidence {
    /// `None` until the rules are known: before, no id is unknown.
    known: Option<HashMap<u64, KnownMatches>>,
    /// Matches from before the rules were known, by id: those of an earlier process.
    restored: HashMap<u64, RuleMatches>,
    /// Removed rules, and when they were removed.
    retired: BTreeMap<u64, UnixMillis>,
    unknown: BTreeMap<u64, UnknownId>,
    /// Drift of known rules that was not taken yet.
    drifted: Vec<Drift>,
    /// Since when every post was seen.
    watched_since: Option<UnixMillis>,
    /// Until when posts were seen.
    watched_until: UnixMillis,
}

impl Evidence {
    /// Replaces the rules that X has. Matches of rules that stay are kept.
    pub fn set_rules(&mut self, rules: Vec<WatchedRule>, now: UnixMillis) {
        let mut before = self.known.take().unwrap_or_default();
        let restored = std::mem::take(&mut self.restored);
        let mut known = HashMap::with_capacity(rules.len());
        for rule in rules {
            self.unknown.remove(&rule.id);
            self.retired.remove(&rule.id);
            let earlier = before.remove(&rule.id).filter(|own| own.rule.tag == rule.tag).map(|own| own.matches);
            let matches = earlier.or_else(|| restored.get(&rule.id).cloned());
            let matches = matches.unwrap_or_else(|| RuleMatches::since(now));
            known.insert(rule.id, KnownMatches { rule, matches });
        }
        self.retired.extend(before.into_keys().map(|id| (id, now)));
        self.known = Some(known);
        self.forget(now);
    }

    /// Counts the rules that a post names. `matched` receives the set of each of them.
    pub fn observe(&mut self, post: &SeenPost, mut matched: impl FnMut(MatchSet<'_>)) {
        let Some(known) = &mut self.known else { return };
        let is_live = post.origin == Origin::Live;
        let prior = post.prior.as_deref().unwrap_or_default();
        for rule in post.rules.iter().filter(|rule| !prior.contains(rule)) {
            let Some(id) = rule.id else { continue };
            if let Some(own) = known.get_mut(&id) {
                own.matches.count(post.received);
                matched(own.rule.set.as_ref().map_or(MatchSet::Unmanaged, MatchSet::Set));
                let is_other = is_live && rule.tag() != own.rule.tag.as_ref().filter(|tag| !tag.is_empty());
                if is_other && !std::mem::replace(&mut own.matches.has_other_tag, true) {
                    self.drifted.push(Drift { rule_id: id, tag: rule.tag.clone(), is_known: true });
                }
                continue;
            }
            matched(MatchSet::Unknown);
            // Posts that X sends again name the rules of their time.
            if !is_live || self.retired.contains_key(&id) {
                continue;
            }
            if let Some(unknown) = self.unknown.get_mut(&id) {
                unknown.last_seen = unknown.last_seen.max(post.received);
            } else if self.unknown.len() < UNKNOWN_MAX {
                let (tag, seen) = (rule.tag.clone(), post.received);
                self.unknown.insert(id, UnknownId { tag, first_seen: seen, last_seen: seen, reported: false });
            }
        }
    }

    /// Notes that all posts up to now were seen. After a break that is longer than X's recovery window, rules are not dead
    /// until they are watched for [`DEAD_AFTER`] again: posts of a shorter one come later.
    pub fn watch(&mut self, now: UnixMillis) {
        if self.watched_since.is_none() || now.since(self.watched_until) > RETIRED_FOR {
            self.watched_since = Some(now);
        }
        self.watched_until = self.watched_until.max(now);
        self.forget(now);
    }

    fn forget(&mut self, now: UnixMillis) {
        self.retired.retain(|_, removed| now.since(*removed) < RETIRED_FOR);
        while self.retired.len() > RETIRED_MAX {
            let oldest = self.retired.iter().min_by_key(|(_, removed)| **removed).map(|(id, _)| *id);
            oldest.and_then(|id| self.retired.remove(&id));
        }
        self.unknown.retain(|_, unknown| now.since(unknown.last_seen) < RETIRED_FOR);
    }

    /// Returns what is new about changes of others, each rule once.
    pub fn take_drift(&mut self, now: UnixMillis) -> Vec<Drift> {
        let mut found = std::mem::take(&mut self.drifted);
        for (id, unknown) in &mut self.unknown {
            if !unknown.reported && now.since(unknown.first_seen) >= UNKNOWN_GRACE {
                unknown.reported = true;
                found.push(Drift { rule_id: *id, tag: unknown.tag.clone(), is_known: false });
            }
        }
        found
    }

    /// Returns what posts showed about a known rule.
    pub fn sightings(&self, id: u64, now: UnixMillis) -> Option<Sightings> {
        self.known.as_ref()?.get(&id).map(|own| own.matches.sightings(now))
    }

    /// Returns the known rules that no post has named for [`DEAD_AFTER`], by id.
    pub fn dead_rules(&self, now: UnixMillis) -> Vec<&WatchedRule> {
        let Some(watched_since) = self.watched_since else { return Vec::new() };
        let is_dead = |own: &&KnownMatches| now.since(own.matches.quiet_since().max(watched_since)) >= DEAD_AFTER;
        let mut dead: Vec<_> =
            self.known.iter().flat_map(HashMap::values).filter(is_dead).map(|own| &own.rule).collect();
        dead.sort_unstable_by_key(|rule| rule.id);
        dead
    }

    /// Returns the unknown ids that posts name, with the time of the first post.
    pub fn unknown_ids(&self) -> impl Iterator<Item = (u64, UnixMillis)> {
        self.unknown.iter().map(|(id, unknown)| (*id, unknown.first_seen))
    }
}
