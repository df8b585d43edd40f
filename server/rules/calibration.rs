//! Compares the gateway's reading of X's rule language with X's own: for a sample of posts, each known rule is evaluated, and
//! the result is compared with the rules that X names on the post.
//!
//! A difference shows that X reads an operator in another way than `docs/rule-language.md` describes, or that it has changed
//! the language. Pure: no I/O and no clock. A rule is compared only after X has applied it, and only on posts of the live
//! stream, because posts that X sends again name the rules of their time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::evidence::{SeenPost, WatchedRule};
use crate::model::{Origin, PostId, UnixMillis};
use crate::query::{Facts, QuerySettings, RuleMatcher};

mod operators;
#[cfg(test)]
mod tests;

pub use operators::operators;

/// Samples that are kept of each operator and kind of difference.
pub const SAMPLES_MAX: usize = 20;

/// Result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Agreement {
    /// Both X and the gateway match. Posts that neither matches are not counted: they are nearly all.
    Agree,
    /// Only X matches.
    XOnly,
    /// Only the gateway matches.
    OursOnly,
}

impl Agreement {
    /// All results.
    pub const ALL: [Self; 3] = [Self::Agree, Self::XOnly, Self::OursOnly];

    /// Returns the name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::XOnly => "x_only",
            Self::OursOnly => "ours_only",
        }
    }
}

/// A post and a rule about which X and the gateway differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Post.
    pub post: PostId,
    /// When it was received.
    pub received: UnixMillis,
    /// Id of the rule.
    pub rule_id: u64,
    /// Text of the rule.
    pub value: Arc<str>,
}

/// Counts and samples of one operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorCalibration {
    /// Comparisons in which both match.
    pub agree: u64,
    /// Comparisons in which only X matches.
    pub x_only: u64,
    /// Comparisons in which only the gateway matches.
    pub ours_only: u64,
    /// First samples of `x_only`.
    pub x_only_samples: Vec<Sample>,
    /// First samples of `ours_only`.
    pub ours_only_samples: Vec<Sample>,
}

struct ComparedRule {
    rule: WatchedRule,
    matcher: RuleMatcher,
    operators: Box<[&'static str]>,
}

/// Comparison of the rules of an account with the posts that X delivers.
pub struct Calibration {
    settings: QuerySettings,
    /// Rules without errors, by id.
    rules: Vec<ComparedRule>,
    /// Rules that the gateway cannot read: X has accepted what the checker refuses.
    unreadable: Vec<WatchedRule>,
    operators: BTreeMap<&'static str, OperatorCalibration>,
    posts: u64,
}

/// True if the post with this id belongs to a fraction of all posts: the same posts at all times.
pub fn is_sampled(id: PostId, fraction: f64) -> bool {
    // The finalizer of SplitMix64: the low bits of ids are sequences, the high ones times.
    let mixed = (id.0 ^ (id.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 <= fraction && fraction > 0.0
}

impl Calibration {
    /// Creates a comparison under these settings of the language.
    pub fn new(settings: QuerySettings) -> Self {
        Self { settings, rules: Vec::new(), unreadable: Vec::new(), operators: BTreeMap::new(), posts: 0 }
    }

    /// Replaces the rules that X has. Results of earlier rules are kept.
    pub fn set_rules(&mut self, rules: &[WatchedRule]) {
        let mut before: BTreeMap<u64, ComparedRule> = self.rules.drain(..).map(|own| (own.rule.id, own)).collect();
        self.unreadable.clear();
        for rule in rules {
            let same = before.remove(&rule.id).filter(|own| own.rule.value == rule.value);
            let compared = same.map(|own| ComparedRule { rule: rule.clone(), ..own });
            match compared.or_else(|| self.compared(rule)) {
                Some(compared) => self.rules.push(compared),
                None => self.unreadable.push(rule.clone()),
            }
        }
    }

    fn compared(&self, rule: &WatchedRule) -> Option<ComparedRule> {
        let query = crate::query::check(&rule.value, &self.settings).query?;
        let operators = operators(query.tree()).into();
        Some(ComparedRule { rule: rule.clone(), matcher: query.matcher(), operators })
    }

    /// Compares all rules with a post that has a payload. `counted` receives each operator and result.
    pub fn observe(&mut self, post: &SeenPost, mut counted: impl FnMut(&'static str, Agreement)) {
        let Some(json) = post.json.as_deref().filter(|_| post.origin == Origin::Live && post.prior.is_none()) else {
            return;
        };
        // Formats that are not X's own were skipped before they were logged.
        let Ok(facts) = Facts::read(json, self.settings.cjk_tokens) else { return };
        self.posts += 1;
        let named: Vec<u64> = post.rules.iter().filter_map(|rule| rule.id).collect();
        for own in self.rules.iter().filter(|own| own.rule.effective_by <= post.received) {
            let agreement = match (named.contains(&own.rule.id), own.matcher.matches(&facts)) {
                (true, true) => Agreement::Agree,
                (true, false) => Agreement::XOnly,
                (false, true) => Agreement::OursOnly,
                (false, false) => continue,
            };
            for operator in &own.operators {
                self.operators.entry(operator).or_default().count(agreement, post, &own.rule);
                counted(operator, agreement);
            }
        }
    }

    /// Returns the results by operator. A comparison counts for each operator of its rule.
    pub fn operators(&self) -> &BTreeMap<&'static str, OperatorCalibration> {
        &self.operators
    }

    /// Returns the rules that the checker refuses although X has them.
    pub fn unreadable(&self) -> &[WatchedRule] {
        &self.unreadable
    }

    /// Returns the number of compared posts.
    pub fn posts(&self) -> u64 {
        self.posts
    }
}

impl OperatorCalibration {
    fn count(&mut self, agreement: Agreement, post: &SeenPost, rule: &WatchedRule) {
        let (count, samples) = match agreement {
            Agreement::Agree => {
                self.agree += 1;
                return;
            }
            Agreement::XOnly => (&mut self.x_only, &mut self.x_only_samples),
            Agreement::OursOnly => (&mut self.ours_only, &mut self.ours_only_samples),
        };
        *count += 1;
        if samples.len() < SAMPLES_MAX {
            let (post, received) = (post.id, post.received);
            samples.push(Sample { post, received, rule_id: rule.id, value: rule.value.clone() });
        }
    }
}
