use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::watch;

use super::config::{Config, MatchingRules};
use super::counters::{Counters, RequestLine};
use super::faults::Faults;
use super::post::{Minted, Snowflakes, created_at, root_value, with_member};
use super::rules::{Rules, Subject};
use super::stream::{Draft, Ending, Kind, Link, Log, Seats};
use super::truth::Truth;
use crate::clock::Clock;
use crate::model::{PostId, Rule, UnixMillis};
use crate::task::Tasks;

/// A post that cannot be published.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PublishError {
    /// It is no JSON object.
    #[error("a post is a JSON object")]
    NotAnObject,
}

/// All that the parts of the simulator share.
pub(super) struct World {
    pub(super) addr: SocketAddr,
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    pub(super) log: Log,
    pub(super) rules: Rules,
    pub(super) seats: Arc<Seats>,
    pub(super) faults: Faults,
    pub(super) snowflakes: Snowflakes,
    /// Posts per second; 0 while it is paused.
    pub(super) pace: watch::Sender<Pace>,
    /// True once a slow reader was dropped and nobody has connected since.
    pub(super) overflowed: Mutex<bool>,
    counters: Mutex<Counters>,
    requests: Mutex<VecDeque<RequestLine>>,
    disorder: Mutex<StdRng>,
}

/// How fast posts are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    pub(super) rate: f64,
    pub(super) paused: bool,
}

impl World {
    pub(super) fn new(config: Config, addr: SocketAddr, clock: Clock, tasks: Tasks) -> Self {
        let seats = Seats::new(clock.clone(), config.live_connections_max, config.recovery_jobs_max, config.slot_held);
        Self {
            addr,
            log: Log::new(config.framing, config.history_entries_max, config.history_bytes_max),
            rules: Rules::new(config.rules_requests_max),
            seats: Arc::new(seats),
            faults: Faults::new(),
            snowflakes: Snowflakes::default(),
            pace: watch::Sender::new(Pace { rate: config.rate, paused: false }),
            overflowed: Mutex::new(false),
            counters: Mutex::default(),
            requests: Mutex::default(),
            disorder: Mutex::new(StdRng::seed_from_u64(config.seed)),
            config,
            clock,
            tasks,
        }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.counters.lock());
    }

    pub(super) fn counters(&self) -> Counters {
        let mut counters = self.counters.lock().clone();
        counters.left_by_client = self.seats.left();
        counters
    }

    pub(super) fn remember(&self, request: RequestLine) {
        let mut requests = self.requests.lock();
        while requests.len() >= self.config.requests_max.max(1) {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    pub(super) fn requests(&self) -> Vec<RequestLine> {
        self.requests.lock().iter().cloned().collect()
    }

    /// A new id, a little in the past where posts come out of order.
    pub(super) fn mint(&self, datacenter: usize) -> Minted {
        let late_ms = self.config.disorder.as_millis() as u64;
        let late = if late_ms == 0 { 0 } else { self.disorder.lock().random_range(0..=late_ms) };
        self.snowflakes.mint(UnixMillis(self.clock.now().0 - late as i64), datacenter)
    }

    /// Matches a post against the rules, and sends it if one matches. `None`: none did.
    pub(super) fn offer(&self, json: &str, post: &Value, minted: Minted) -> Option<Truth> {
        let rules = self.rules.matching(&Subject::of(post), self.clock.moment());
        (!rules.is_empty()).then(|| self.send(self.with_rules(json, &rules), minted, self.as_told(rules)))
    }

    /// Sends a post as it is: what it tells of rules is the truth.
    pub(super) fn send_as_it_is(&self, json: String, post: &Value) -> Truth {
        self.send(json, self.minted_as(post), rules_of(post))
    }

    /// What the id of a post says; 0 if it has none.
    pub(super) fn minted_as(&self, post: &Value) -> Minted {
        let id = PostId(id_of(post).unwrap_or_default());
        let created = id.created_at().unwrap_or(self.clock.now());
        Minted { id, created, datacenter: (id.0 >> 17 & 31) as usize }
    }

    /// Makes a post part of the truth, whatever the rules; see `Handle::publish`.
    pub(super) fn publish(&self, json: &str) -> Result<Truth, PublishError> {
        let post: Value = serde_json::from_str(json).map_err(|_| PublishError::NotAnObject)?;
        if !post.is_object() {
            return Err(PublishError::NotAnObject);
        }
        let (json, minted) = match id_of(&post) {
            Some(_) => (json.to_owned(), self.minted_as(&post)),
            None => {
                let minted = self.mint(0);
                (renewed(json, minted), minted)
            }
        };
        if post.get("matching_rules").is_some() {
            return Ok(self.send(json, minted, rules_of(&post)));
        }
        let rules = self.rules.matching(&Subject::of(&post), self.clock.moment());
        let json = if rules.is_empty() { json } else { self.with_rules(&json, &rules) };
        Ok(self.send(json, minted, self.as_told(rules)))
    }

    fn send(&self, json: String, minted: Minted, rules: Vec<Rule>) -> Truth {
        let Minted { id: post_id, created, datacenter } = minted;
        let draft = Draft { post_id, rules: rules.into(), json, created, datacenter };
        let truth = self.log.publish(draft, self.clock.now());
        self.drop_slow_readers();
        truth
    }

    /// Ends live connections for which more is kept than the setting allows.
    fn drop_slow_readers(&self) {
        if *self.faults.stalled().borrow() {
            return;
        }
        let (_, offset) = self.log.end();
        for link in self.seats.links(Kind::Live) {
            if link.behind(offset) > self.config.slow_reader_bytes_max && !link.is_ending() {
                let message = self.config.slow_reader_message.then(|| Bytes::from_static(FULL_BUFFER));
                link.end(Ending::Clean(message));
                *self.overflowed.lock() = true;
                self.count(|counters| counters.slow_readers += 1);
            }
        }
    }

    fn with_rules(&self, json: &str, rules: &[Rule]) -> String {
        let list: Vec<Value> = rules.iter().map(|rule| self.rule_json(rule)).collect();
        match self.config.matching_rules {
            MatchingRules::Absent => json.to_owned(),
            _ => with_member(json, "matching_rules", &Value::from(list).to_string()),
        }
    }

    fn rule_json(&self, rule: &Rule) -> Value {
        let (id, tag) = (rule.id.unwrap_or_default(), rule.tag.as_deref());
        match self.config.matching_rules {
            MatchingRules::IdAndTag => json!({"tag": tag, "id": id, "id_str": id.to_string()}),
            MatchingRules::StringId => json!({"id": id.to_string(), "tag": tag}),
            MatchingRules::TagOnly | MatchingRules::Absent => json!({"tag": tag}),
        }
    }

    /// The rules as far as the payload tells them.
    fn as_told(&self, rules: Vec<Rule>) -> Vec<Rule> {
        match self.config.matching_rules {
            MatchingRules::IdAndTag | MatchingRules::StringId => rules,
            MatchingRules::TagOnly => rules.into_iter().map(|rule| Rule { id: None, ..rule }).collect(),
            MatchingRules::Absent => Vec::new(),
        }
    }

    /// The time by which a window takes or leaves a post: played posts are as old as their sending.
    pub(super) fn time_of(&self, post: &Truth) -> UnixMillis {
        if self.config.posts.is_some() { post.published } else { post.created }
    }

    /// A post as backfill and recovery send it.
    pub(super) fn replayed(&self, post: &Truth) -> Bytes {
        if !self.config.replay_changes_counts {
            return post.json.clone();
        }
        let changed = std::str::from_utf8(&post.json).ok().and_then(|json| {
            let count: u64 = json[root_value(json, "favorite_count")?].parse().ok()?;
            Some(with_member(json, "favorite_count", &(count + 1).to_string()))
        });
        changed.map_or_else(|| post.json.clone(), Bytes::from)
    }

    /// Waits until the stall is over or the stream is to end.
    pub(super) async fn wait(&self, link: &Link, stalled: &mut watch::Receiver<bool>) {
        tokio::select! {
            _ = stalled.changed() => {}
            () = link.woken() => {}
        }
    }
}

/// PowerTrack FAQ.
const FULL_BUFFER: &[u8] = br#"{"errors":[{"title":"operational-disconnect","disconnect_type":"SlowReader","detail":"This stream has been disconnected because your client was unable to keep up with us.","type":"https:\/\/api.x.com\/2\/problems\/operational-disconnect"}]}"#;

/// The same post under a new id.
pub(super) fn renewed(json: &str, minted: Minted) -> String {
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
