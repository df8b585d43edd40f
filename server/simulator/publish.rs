use std::sync::Arc;

use bytes::Bytes;
use rand::RngExt;
use serde_json::{Value, json};
use thiserror::Error;

use super::config::MatchingRules;
use super::faults::{Flow, StreamError};
use super::post::{GeneratedId, Generator, created_at, root_value, with_member};
use super::rules::PostAttributes;
use super::sent_post::SentPost;
use super::state::SimulatorState;
use super::stream::{PublishTime, StreamEnd, StreamHandle, StreamKind, UnsentPost};
use crate::model::{PostId, Rule, TimeRange, UnixMillis, union_rules};

/// Different posts that history is made of, under ids of their own.
const SKETCHES: usize = 64;
/// Drawn at most to find so many that match a rule.
const SKETCHES_TRIED_MAX: usize = 4_096;

/// A post that cannot be published.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PublishError {
    /// It is no JSON object.
    #[error("a post is a JSON object")]
    NotAnObject,
    /// It was not sent before, or is no longer kept.
    #[error("post {0} not found: only sent posts can be redelivered")]
    Unknown(PostId),
    /// There is no such datacenter.
    #[error("datacenter {0:?} not found")]
    NoDatacenter(String),
}

impl SimulatorState {
    /// A new id, a little in the past where posts come out of order.
    pub(super) fn mint(&self, datacenter: usize) -> GeneratedId {
        let late_ms = self.config().disorder.as_millis() as u64;
        let late = if late_ms == 0 { 0 } else { self.disorder.lock().random_range(0..=late_ms) };
        self.snowflakes.mint(UnixMillis(self.now().0 - late as i64), datacenter)
    }

    /// Matches a post against the rules, and sends it if one matches. `None`: none did.
    pub(super) fn offer(&self, json: &str, post: &Value, minted: GeneratedId) -> Option<SentPost> {
        let rules = self.rules.matching(&PostAttributes::of(post), self.clock.moment());
        (!rules.is_empty()).then(|| self.send(self.with_rules(json, &rules), minted, self.in_payload(rules)))
    }

    /// Sends a post unchanged, with the rules of its payload.
    pub(super) fn send_as_it_is(&self, json: String, post: &Value) -> SentPost {
        self.send(json, self.minted_as(post), rules_of(post))
    }

    /// Returns the id of a post with its time; 0 if it has none.
    pub(super) fn minted_as(&self, post: &Value) -> GeneratedId {
        let id = PostId(id_of(post).unwrap_or_default());
        let created = id.created_at().unwrap_or(self.now());
        GeneratedId { id, created, datacenter: (id.0 >> 17 & 31) as usize }
    }

    /// Makes a post part of the truth, whatever the rules; see `SimulatorHandle::publish`.
    pub(super) fn publish(&self, json: &str, datacenter: usize) -> Result<SentPost, PublishError> {
        let post = object(json)?;
        let (json, minted) = match id_of(&post) {
            Some(_) => (json.to_owned(), self.minted_as(&post)),
            None => {
                let minted = self.mint(datacenter);
                (renewed(json, minted), minted)
            }
        };
        let (json, rules) = self.with_own_rules(json, &post);
        Ok(self.send(json, minted, rules))
    }

    /// The same for a time that has passed; see `SimulatorHandle::publish_at`.
    pub(super) fn publish_at(&self, created: UnixMillis, json: &str) -> Result<SentPost, PublishError> {
        let post = object(json)?;
        let minted = self.snowflakes.mint(created, 0);
        let (json, rules) = self.with_own_rules(renewed(json, minted), &post);
        self.count(|counters| counters.past += 1);
        Ok(self.log.publish(drafted(json, minted, rules), PublishTime::Past))
    }

    /// Fills a span of the past; see `SimulatorHandle::history`.
    pub(super) fn history(&self, span: TimeRange, rate: f64) -> u64 {
        let config = self.config();
        let mut generator = Generator::new(config.seed ^ span.from.0 as u64);
        let sketches: Vec<_> = (0..SKETCHES_TRIED_MAX)
            .filter_map(|_| {
                let sketch = generator.sketch();
                let post: Value = serde_json::from_str(&sketch).ok()?;
                let rules = self.rules.matching(&PostAttributes::of(&post), self.clock.moment());
                let json = (!rules.is_empty()).then(|| self.with_rules(&sketch, &rules))?;
                Some((json, Arc::from(self.in_payload(rules))))
            })
            .take(SKETCHES)
            .collect();
        if sketches.is_empty() || !(rate.is_finite() && rate > 0.0) || span.is_empty() {
            return 0;
        }
        let total = ((span.to.0 - span.from.0) as f64 * rate / 1_000.0) as u64;
        let (mut second, mut created_text) = (i64::MIN, String::new());
        let drafts = (0..total).map(|n| {
            let (sketch, rules): &(String, Arc<[Rule]>) = &sketches[generator.below(sketches.len())];
            let created = UnixMillis(span.from.0 + (n as f64 * 1_000.0 / rate) as i64);
            let minted = self.snowflakes.mint(created, generator.below(config.datacenters.len()));
            if created.0.div_euclid(1_000) != second {
                second = created.0.div_euclid(1_000);
                created_text = created_at(created.0);
            }
            let (id, ms, rest) = (minted.id, created.0, &sketch[1..]);
            let json =
                format!(r#"{{"created_at":"{created_text}","id":{id},"id_str":"{id}","timestamp_ms":"{ms}",{rest}"#);
            UnsentPost { post_id: id, rules: rules.clone(), json, created, datacenter: minted.datacenter }
        });
        let made = self.log.publish_past(drafts);
        self.count(|counters| counters.past += made);
        made
    }

    /// Sends a post again with these rules in addition to its own; see `SimulatorHandle::redeliver`.
    pub(super) fn redeliver(&self, post_id: PostId, more: &[Rule]) -> Result<SentPost, PublishError> {
        let earlier = self.log.latest(post_id).ok_or(PublishError::Unknown(post_id))?;
        let rules = union_rules(&earlier.rules, more).unwrap_or(earlier.rules);
        let json = self.with_rules(&String::from_utf8_lossy(&earlier.json), &rules);
        let minted = GeneratedId { id: post_id, created: earlier.created, datacenter: earlier.datacenter };
        self.count(|counters| counters.redelivered += 1);
        Ok(self.send(json, minted, self.in_payload(rules.to_vec())))
    }

    /// Returns the post with its own or the matching rules.
    fn with_own_rules(&self, json: String, post: &Value) -> (String, Vec<Rule>) {
        if post.get("matching_rules").is_some() {
            return (json, rules_of(post));
        }
        let rules = self.rules.matching(&PostAttributes::of(post), self.clock.moment());
        let json = if rules.is_empty() { json } else { self.with_rules(&json, &rules) };
        (json, self.in_payload(rules))
    }

    fn send(&self, json: String, minted: GeneratedId, rules: Vec<Rule>) -> SentPost {
        let truth = self.log.publish(drafted(json, minted, rules), PublishTime::Now(self.now()));
        self.drop_slow_readers();
        truth
    }

    /// Ends live connections for which more is kept than the setting allows.
    fn drop_slow_readers(&self) {
        if *self.faults.flow(false).borrow() != Flow::Open {
            return;
        }
        let ((_, offset), config) = (self.log.end(), self.config());
        for link in self.slots.links(StreamKind::Live) {
            let behind = link.behind(offset) > config.slow_reader_bytes_max;
            if behind && link.flow() == Flow::Open && !link.is_ending() {
                self.drop_slow_reader(&link, config.slow_reader_message);
            }
        }
    }

    /// Ends a connection as if its buffer were full; true if it was not to end already.
    pub(super) fn drop_slow_reader(&self, link: &StreamHandle, message: bool) -> bool {
        let message = message.then(|| Bytes::from(StreamError::SlowReader.json()));
        let ended = link.end(StreamEnd::Clean(message));
        if ended {
            *self.overflowed.lock() = true;
            self.count(|counters| counters.slow_readers += 1);
        }
        ended
    }

    fn with_rules(&self, json: &str, rules: &[Rule]) -> String {
        let list: Vec<Value> = rules.iter().map(|rule| self.rule_json(rule)).collect();
        match self.config().matching_rules {
            MatchingRules::Absent => json.to_owned(),
            _ => with_member(json, "matching_rules", &Value::from(list).to_string()),
        }
    }

    fn rule_json(&self, rule: &Rule) -> Value {
        let (id, tag) = (rule.id.unwrap_or_default(), rule.tag.as_deref());
        match self.config().matching_rules {
            MatchingRules::IdAndTag => json!({"tag": tag, "id": id, "id_str": id.to_string()}),
            MatchingRules::StringId => json!({"id": id.to_string(), "tag": tag}),
            MatchingRules::TagOnly | MatchingRules::Absent => json!({"tag": tag}),
        }
    }

    /// Returns the rules as far as the payload shape contains them.
    fn in_payload(&self, rules: Vec<Rule>) -> Vec<Rule> {
        match self.config().matching_rules {
            MatchingRules::IdAndTag | MatchingRules::StringId => rules,
            MatchingRules::TagOnly => rules.into_iter().map(|rule| Rule { id: None, ..rule }).collect(),
            MatchingRules::Absent => Vec::new(),
        }
    }

    /// A post as backfill and recovery send it.
    pub(super) fn replayed(&self, post: &SentPost) -> Bytes {
        if !self.config().replay_changes_counts {
            return post.json.clone();
        }
        let changed = std::str::from_utf8(&post.json).ok().and_then(|json| {
            let count: u64 = json[root_value(json, "favorite_count")?].parse().ok()?;
            Some(with_member(json, "favorite_count", &(count + 1).to_string()))
        });
        changed.map_or_else(|| post.json.clone(), Bytes::from)
    }
}

/// The same post under a new id.
pub(super) fn renewed(json: &str, minted: GeneratedId) -> String {
    let text = |value: String| Value::from(value).to_string();
    [
        ("id", minted.id.to_string()),
        ("id_str", text(minted.id.to_string())),
        ("created_at", text(created_at(minted.created.0))),
        ("timestamp_ms", text(minted.created.0.to_string())),
    ]
    .iter()
    .fold(json.to_owned(), |json, (key, value)| with_member(&json, key, value))
}

fn object(json: &str) -> Result<Value, PublishError> {
    let post = serde_json::from_str(json).ok().filter(Value::is_object);
    post.ok_or(PublishError::NotAnObject)
}

fn drafted(json: String, minted: GeneratedId, rules: Vec<Rule>) -> UnsentPost {
    let GeneratedId { id: post_id, created, datacenter } = minted;
    UnsentPost { post_id, rules: rules.into(), json, created, datacenter }
}

fn id_of(post: &Value) -> Option<u64> {
    let text = post.get("id_str").and_then(Value::as_str).and_then(|text| text.parse().ok());
    text.or_else(|| post.get("id")?.as_u64())
}

fn rules_of(post: &Value) -> Vec<Rule> {
    let list = post.get("matching_rules").and_then(Value::as_array).into_iter().flatten();
    list.map(|rule| Rule {
        id: id_of(rule).or_else(|| rule.get("id")?.as_str()?.parse().ok()),
        tag: rule.get("tag").and_then(Value::as_str).map(Arc::from),
    })
    .collect()
}
