//! At most one replica believes in its lease at any true time: simulated replicas with their own clocks over one key.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::rules::{LeaseRules, LeaseStep, WriteOutcome};
use super::super::timing::Timing;
use super::super::value::{LeaseValue, Replica, Version};
use crate::clock::Moment;
use crate::quorum::{KeyEntry, Revision};

/// Time to live, in milliseconds.
const TTL_MS: u64 = 10_000;
/// A call ends after this time.
const LIMIT_MS: u64 = TTL_MS / 5;
const REPLICAS: usize = 3;
/// True time of a run, in milliseconds: 60 times to live.
const RUN_MS: u64 = 60 * TTL_MS;
/// From here on, there are no faults.
const CALM_MS: u64 = RUN_MS - 6 * TTL_MS;

/// Conditions of a run.
#[derive(Clone, Copy)]
struct Conditions {
    /// Clocks run between 1 - this and 1 + this.
    rate_error: f64,
    /// Probability that a message is lost, late, or that a read is stale; each.
    faults: f64,
    /// Probability that a replica is frozen after a step.
    freezes: f64,
}

struct Node {
    rules: LeaseRules,
    rate: f64,
    offset_ms: u64,
    /// Replaces events of an earlier run.
    run: u64,
    /// Until then it processes nothing.
    frozen_until: u64,
}

/// An event at the key or at a replica.
enum Event {
    /// The replica looks for its next step.
    Wake { node: usize, run: u64 },
    /// A read or write reaches the key.
    Arrive { node: usize, run: u64, back: Option<u64>, call: Call, sent: Moment },
    /// An answer reaches the replica.
    Answer { node: usize, run: u64, answer: Answer, sent: Moment },
}

#[derive(Clone)]
enum Call {
    Look,
    Write { expected: Option<Revision>, value: Bytes },
}

enum Answer {
    Look(Option<Option<KeyEntry>>),
    Write(WriteOutcome),
}

struct Simulation {
    conditions: Conditions,
    rng: StdRng,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    numbered: u64,
    nodes: Vec<Node>,
    /// All values that the key had, the newest last.
    values: Vec<Option<KeyEntry>>,
    /// Faults that occurred.
    injected: u64,
    changes_of_holder: u64,
    last_holder: Option<(usize, u64)>,
}

impl Simulation {
    fn new(seed: u64, conditions: Conditions) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let error = conditions.rate_error;
        let nodes = (0..REPLICAS).map(|n| Node {
            rules: rules(n, 1),
            // The extremes are the hard case.
            rate: [1.0 - error, 1.0 + error, 1.0][rng.random_range(0..3)],
            offset_ms: rng.random_range(0..1_000_000),
            run: 1,
            frozen_until: 0,
        });
        let nodes = nodes.collect();
        let mut simulation = Self {
            conditions,
            rng,
            now: 0,
            events: BTreeMap::new(),
            numbered: 0,
            nodes,
            values: vec![None],
            injected: 0,
            changes_of_holder: 0,
            last_holder: None,
        };
        for node in 0..REPLICAS {
            simulation.schedule(0, Event::Wake { node, run: 1 });
        }
        simulation
    }

    fn moment(&self, node: usize) -> Moment {
        let Node { rate, offset_ms, .. } = self.nodes[node];
        Moment::ZERO.plus(Duration::from_millis(offset_ms) + Duration::from_millis(self.now).mul_f64(rate))
    }

    fn schedule(&mut self, after: u64, event: Event) {
        self.numbered += 1;
        self.events.insert((self.now + after, self.numbered), event);
    }

    fn occurs(&mut self, probability: f64) -> bool {
        let occurs = self.now < CALM_MS && self.rng.random_bool(probability);
        self.injected += u64::from(occurs);
        occurs
    }

    /// How long a message takes; `None` if it is lost.
    fn transit(&mut self) -> Option<u64> {
        let faults = self.conditions.faults;
        if self.occurs(faults) {
            return None;
        }
        // Late, and still in time for an answer; or much later.
        let longest = if self.occurs(faults) { [LIMIT_MS, 3 * TTL_MS][self.rng.random_range(0..2)] } else { 50 };
        Some(self.rng.random_range(1..longest))
    }

    /// Replicas that believe in their lease now.
    fn holders(&self) -> Vec<(usize, u64)> {
        let held = |n: usize| self.nodes[n].rules.tenure().filter(|tenure| tenure.is_held_at(self.moment(n)));
        (0..REPLICAS).filter_map(|n| held(n).map(|tenure| (n, tenure.number))).collect()
    }

    /// Runs to the end. Returns the first time at which two replicas believed in their lease.
    fn run(&mut self) -> Option<u64> {
        while let Some(((at, _), event)) = self.events.pop_first().filter(|((at, _), _)| *at <= RUN_MS) {
            self.now = at;
            self.process(event);
            let holders = self.holders();
            if holders.len() > 1 {
                return Some(self.now);
            }
            if let Some(holder) = holders.first().filter(|holder| self.last_holder != Some(**holder)) {
                self.changes_of_holder += 1;
                self.last_holder = Some(*holder);
            }
        }
        None
    }

    fn process(&mut self, event: Event) {
        let (node, run) = match event {
            Event::Wake { node, run } | Event::Arrive { node, run, .. } | Event::Answer { node, run, .. } => {
                (node, run)
            }
        };
        if let Event::Arrive { back, call, sent, .. } = event {
            // The key is elsewhere: it answers whatever became of the replica.
            let answer = self.arrive(call);
            if let Some(back) = back {
                self.schedule(back, Event::Answer { node, run, answer, sent });
            }
            return;
        }
        if self.nodes[node].run != run {
            return;
        }
        let frozen = self.nodes[node].frozen_until.saturating_sub(self.now);
        if frozen > 0 {
            return self.schedule(frozen, event);
        }
        if let Event::Answer { answer, sent, .. } = event {
            let received = self.moment(node);
            let jitter = self.rng.random();
            let rules = &mut self.nodes[node].rules;
            match answer {
                Answer::Look(Some(entry)) => rules.on_look(entry, received, jitter),
                Answer::Look(None) => {}
                Answer::Write(outcome) => rules.on_write(outcome, sent),
            }
        }
        self.step(node, run);
    }

    fn step(&mut self, node: usize, run: u64) {
        let sent = self.moment(node);
        if self.occurs(self.conditions.freezes) {
            self.nodes[node].frozen_until = self.now + self.rng.random_range(0..4 * TTL_MS);
        }
        if self.occurs(self.conditions.freezes / 4.0) {
            // A crash and a start.
            self.nodes[node].run += 1;
            let run = self.nodes[node].run;
            self.nodes[node].rules = rules(node, run);
            return self.schedule(1, Event::Wake { node, run });
        }
        if self.occurs(self.conditions.freezes / 4.0) {
            self.nodes[node].rules.release(Some(sent), false);
        }
        let call = match self.nodes[node].rules.step(sent) {
            LeaseStep::Wait(moment) => {
                let after = moment.since(sent).div_f64(self.nodes[node].rate).as_millis() as u64 + 1;
                return self.schedule(after, Event::Wake { node, run });
            }
            LeaseStep::Look => Call::Look,
            LeaseStep::Write { expected, value } => Call::Write { expected, value },
            LeaseStep::Stop => return,
        };
        let timed_out = match call {
            Call::Look => Answer::Look(None),
            Call::Write { .. } => Answer::Write(WriteOutcome::Unknown),
        };
        // It may be applied, now or late, whether the answer arrives in time or not.
        let (there, back) = (self.transit(), self.transit());
        let is_answered = there.zip(back).is_some_and(|(there, back)| there + back < LIMIT_MS);
        if let Some(there) = there {
            let back = back.filter(|_| is_answered);
            self.schedule(there, Event::Arrive { node, run, back, call, sent });
        }
        if !is_answered {
            self.schedule(LIMIT_MS, Event::Answer { node, run, answer: timed_out, sent });
        }
    }

    /// A call reaches the key.
    fn arrive(&mut self, call: Call) -> Answer {
        let newest = self.values.len() - 1;
        match call {
            Call::Look => {
                let stale = if self.occurs(self.conditions.faults) { self.rng.random_range(0..20) } else { 0 };
                Answer::Look(Some(self.values[newest.saturating_sub(stale)].clone()))
            }
            Call::Write { expected, value } => {
                let current = self.values[newest].as_ref().map(|entry| entry.revision);
                if current != expected {
                    return Answer::Write(WriteOutcome::Conflict);
                }
                let revision = Revision(newest as u64 + 1);
                self.values.push(Some(KeyEntry { revision, value }));
                Answer::Write(WriteOutcome::Stored(revision))
            }
        }
    }
}

fn rules(node: usize, run: u64) -> LeaseRules {
    let version = Version(1, 0, 0);
    let own = Replica { name: format!("r{node}"), address: String::new(), run, version };
    LeaseRules::new(Timing::new(Duration::from_millis(TTL_MS)), own)
}

#[test]
fn at_most_one_replica_holds_lease() {
    let (mut injected, mut changes) = (0, 0);
    for seed in 0..1_000 {
        let faults = [0.0, 0.02, 0.1, 0.3][seed as usize % 4];
        let freezes = [0.0, 0.02, 0.05][seed as usize % 3];
        let mut simulation = Simulation::new(seed, Conditions { rate_error: 0.1, faults, freezes });
        assert_eq!(simulation.run(), None, "two holders, seed {seed}");
        // Without faults one of them has it.
        assert_eq!(simulation.holders().len(), 1, "seed {seed}");
        let holder = simulation.values.last().and_then(|entry| LeaseValue::decode(&entry.as_ref()?.value));
        let holder = holder.map(|value| value.replica.name);
        assert_eq!(holder, Some(format!("r{}", simulation.holders()[0].0)), "seed {seed}");
        injected += simulation.injected;
        changes += simulation.changes_of_holder;
    }
    assert!(injected > 50_000, "faults occurred: {injected}");
    assert!(changes > 5_000, "the holder changed: {changes}");
}

#[test]
fn clocks_beyond_bound_yield_two_holders() {
    let conditions = Conditions { rate_error: 0.4, faults: 0.1, freezes: 0.05 };
    let found = (0..200).filter(|seed| Simulation::new(*seed, conditions).run().is_some()).count();
    assert!(found > 0, "the check can fail");
}
