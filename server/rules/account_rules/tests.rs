use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::rules::change::{Change, ChangeOptions};
use crate::rules::check::LanguageChecker;
use crate::rules::events::RuleSightings;
use crate::rules::outcome::{Outcome, RuleResult};
use crate::rules::planner::Step;
use crate::rules::reconciler::ReconcilerStep;
use crate::rules::state::{StateError, decode, encode};
use crate::xapi::XRule;

/// A state in memory, as its file has it.
#[derive(Default)]
struct MemoryStore(Mutex<Option<Vec<u8>>>);

impl StateStore for MemoryStore {
    fn load(&self) -> Result<Option<RulesState>, StateError> {
        Ok(self.0.lock().as_ref().map(|bytes| decode(bytes).expect("written by a test")))
    }

    fn save(&self, state: &RulesState) -> std::io::Result<()> {
        *self.0.lock() = Some(encode(state)?);
        Ok(())
    }
}

/// Takes changes, or does not.
#[derive(Default)]
struct Recorder {
    refuses: AtomicBool,
    taken: Mutex<Vec<RulesDifference>>,
}

impl RuleEvents for Recorder {
    fn changed(&self, change: &RulesDifference) -> bool {
        let takes = !self.refuses.load(Ordering::Relaxed);
        self.taken.lock().extend(takes.then(|| change.clone()));
        takes
    }

    fn sightings(&self, _: &RuleId) -> Option<RuleSightings> {
        Some(RuleSightings { matches_24h: 7, ..RuleSightings::default() })
    }
}

struct Bench {
    clock: Clock,
    store: Arc<MemoryStore>,
    events: Arc<Recorder>,
}

impl Bench {
    fn new() -> Self {
        Self { clock: Clock::of_runtime(UnixMillis(0)), store: Arc::default(), events: Arc::default() }
    }

    fn open(&self) -> AccountRules {
        let gather = (Duration::ZERO, Duration::ZERO);
        AccountRules::open(AccountRulesParts {
            account: AccountName::new("main").expect("a name"),
            policy: Policy { mode: Mode::Manage, gather, ..Policy::default() },
            clock: self.clock.clone(),
            store: self.store.clone(),
            checker: Arc::new(LanguageChecker::default()),
            events: self.events.clone(),
            audit: AuditFile::new(None, 0, 0),
        })
    }
}

fn at_x(id: &str, value: &str) -> XRule {
    XRule { id: RuleId::new(id).ok(), value: value.to_owned(), tag: Some("t".to_owned()) }
}

fn apply(rules: &AccountRules, value: &str) {
    let (name, tag) = ("a".to_owned(), "t".to_owned());
    let wanted = vec![WantedRule { name, value: value.to_owned(), tag, note: String::new() }];
    let change = Change::Replace { set: "pets".to_owned(), rules: wanted };
    rules.change(change, &ChangeOptions::default(), "ops").expect("valid");
}

/// Makes one addition, which X answers with this id.
fn add(rules: &AccountRules, id: &str) {
    let Some(ReconcilerStep::Send(step @ Step::Add(_))) = rules.begin() else { panic!("an addition is due") };
    let Step::Add(sent) = &step else { panic!("an addition") };
    let added = at_x(id, &sent[0].value);
    rules.on_step(&step, Outcome::Results(vec![RuleResult::Added(added)]), None);
}

/// A change at X is offered until it is taken, also after a restart, each once.
#[tokio::test(start_paused = true)]
async fn changes_are_offered_until_taken() {
    let bench = Bench::new();
    let rules = bench.open();
    assert_eq!(rules.begin(), Some(ReconcilerStep::Read));
    rules.on_read(Ok(vec![at_x("7", "dog")]), None);
    assert_eq!(*bench.events.taken.lock(), [], "what was never known did not change");
    bench.events.refuses.store(true, Ordering::Relaxed);
    apply(&rules, "cat");
    add(&rules, "8");
    assert_eq!(*bench.events.taken.lock(), []);
    drop(rules);
    bench.events.refuses.store(false, Ordering::Relaxed);
    let rules = bench.open();
    rules.checkpoint();
    let change = bench.events.taken.lock().clone();
    assert_eq!((change.len(), change[0].cause.as_str(), change[0].removed.len()), (1, "rpc", 0));
    assert_eq!(change[0].added[0].id, RuleId::new("8").ok());
    drop(rules);
    bench.open().checkpoint();
    assert_eq!(bench.events.taken.lock().len(), 1, "taken once");
    // Another client.
    let rules = bench.open();
    rules.refresh(false, false).expect("budget");
    assert_eq!(rules.begin(), Some(ReconcilerStep::Read));
    rules.on_read(Ok(vec![at_x("8", "cat"), at_x("9", "owl")]), None);
    let last = bench.events.taken.lock().last().cloned().expect("taken");
    assert_eq!((last.cause.as_str(), last.added.len(), last.removed.len()), ("foreign", 1, 1));
    assert!(last.revision > change[0].revision);
    assert_eq!(rules.list().rules[0].sightings.map(|seen| seen.matches_24h), Some(7));
}

/// Unknown ids have the rules read once they are unknown for a minute, and not again for hours.
#[tokio::test(start_paused = true)]
async fn unknown_ids_cause_rare_reads() {
    let bench = Bench::new();
    let rules = bench.open();
    assert_eq!(rules.begin(), Some(ReconcilerStep::Read));
    rules.on_read(Ok(vec![at_x("7", "dog")]), None);
    let id = |id: &str| RuleId::new(id).expect("digits");
    rules.note_unknown_rule(&id("7"));
    assert!(rules.status().unknown_ids.is_empty(), "it is known");
    rules.note_unknown_rule(&id("8"));
    rules.note_unknown_rule(&id("8"));
    assert_eq!(rules.metrics().drift.get(), 1);
    let minute = Duration::from_secs(60);
    assert_eq!(rules.begin(), Some(ReconcilerStep::Wait(Some(minute))), "the answer with it may be under way");
    bench.clock.sleep(minute).await;
    assert_eq!(rules.begin(), Some(ReconcilerStep::Read));
    rules.on_read(Ok(vec![at_x("7", "dog"), at_x("8", "cat")]), None);
    assert!(rules.status().unknown_ids.is_empty());
    rules.note_unknown_rule(&id("9"));
    bench.clock.sleep(minute).await;
    let Some(ReconcilerStep::Wait(Some(wait))) = rules.begin() else { panic!("not so soon") };
    assert!(wait > 5 * 60 * minute && wait < 6 * 60 * minute, "{wait:?}");
    bench.clock.sleep(wait).await;
    assert_eq!(rules.begin(), Some(ReconcilerStep::Read));
}
