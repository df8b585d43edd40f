use super::*;
use crate::rules::budget::{BudgetAccess, Method, RequestLimits, RunningTime};
use crate::rules::planner::RuleAddition;
use crate::rules::rule::WantedRule;
use crate::rules::sets::StoredSet;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn x_rule(id: &str, value: &str, tag: &str) -> XRule {
    XRule { id: RuleId::new(id).ok(), value: value.to_owned(), tag: Some(tag.to_owned()) }
}

fn with_set(values: &[&str]) -> RulesState {
    let rule = |value: &&str| WantedRule {
        name: format!("name of {value}"),
        value: (*value).to_owned(),
        tag: "t".to_owned(),
        note: String::new(),
    };
    let set = StoredSet { rules: values.iter().map(rule).collect(), changed_time: NOW, ..StoredSet::default() };
    RulesState { sets: Sets::from([("pets".to_owned(), set)]), ..RulesState::default() }
}

fn owners(state: &RulesState) -> Vec<String> {
    let rules = &state.known.as_ref().expect("read").rules;
    rules.iter().map(|rule| rule.owner.as_ref().map(ToString::to_string).unwrap_or_default()).collect()
}

#[test]
fn state_survives_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = StateDir::create(&dir.path().join("rules"), "main").expect("created");
    assert!(store.load().expect("none yet").is_none());
    let mut state = with_set(&["cat"]);
    state.refresh(vec![x_rule("734861971116285952", "cat", "t")], NOW);
    let limits = RequestLimits { requests_max: 50, reserve: 10 };
    state.budget.charge(Method::Post, BudgetAccess::Ordinary, &limits, (RunningTime::default(), NOW)).expect("allowed");
    state.begin_operation("file", NOW).sent = true;
    state.reject("-x", "bad", NOW);
    store.save(&state).expect("written");
    assert_eq!(store.load().expect("readable"), Some(state));
    let name = dir.path().join("rules/main.json");
    let text = std::fs::read_to_string(&name).expect("there");
    assert!(text.contains(r#""id":"734861971116285952""#), "{text}");
}

#[test]
fn damaged_state_is_not_replaced_by_empty_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = StateDir::create(dir.path(), "main").expect("created");
    store.save(&with_set(&["cat"])).expect("written");
    let path = dir.path().join("main.json");
    let good = std::fs::read(&path).expect("there");
    for damage in [&good[..good.len() - 1], b"", b"{}", br#"{"version":2,"rules":{}}"#, b"\0\0\0\0"] {
        std::fs::write(&path, damage).expect("written");
        assert!(matches!(store.load(), Err(StateError::Damaged { .. })), "{}", String::from_utf8_lossy(damage));
    }
    std::fs::remove_file(&path).expect("ours");
    std::fs::create_dir(&path).expect("ours");
    assert!(matches!(store.load(), Err(StateError::Unreadable { .. })));
}

/// A crash at any point of a write leaves the state before it or after it.
#[test]
fn interrupted_write_leaves_whole_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = StateDir::create(dir.path(), "main").expect("created");
    let (old, new) = (with_set(&["cat"]), with_set(&["dog"]));
    store.save(&old).expect("written");
    let bytes = encode(&new).expect("encoded");
    for length in [0, 1, bytes.len() / 2, bytes.len()] {
        // What a killed writer leaves: its temporary file, of any length.
        std::fs::write(dir.path().join("main.json.tmp"), &bytes[..length]).expect("written");
        assert_eq!(store.load().expect("readable"), Some(old.clone()), "{length}");
    }
    store.save(&new).expect("written");
    assert_eq!(store.load().expect("readable"), Some(new));
}

#[test]
fn rules_of_wanted_meaning_belong_to_sets() {
    let mut state = with_set(&["cat", "dog"]);
    let found = vec![x_rule("1", "(cat)", "t"), x_rule("2", "foreign", "u")];
    assert!(state.refresh(found.clone(), NOW));
    assert_eq!(owners(&state), ["pets/name of cat", ""]);
    assert!(!state.refresh(found, NOW), "nothing has changed");
    assert_eq!((state.counts(), state.revision), ((1, 1), 1));
    // A rule that no set wants any more is still managed.
    state.sets.clear();
    assert!(!state.refresh(vec![x_rule("2", "foreign", "u"), x_rule("1", "(cat)", "t")], NOW));
    assert_eq!(state.counts(), (1, 1));
    assert!(state.refresh(vec![x_rule("1", "(cat)", "changed")], NOW), "another client changed the rules");
}

#[test]
fn acknowledged_rules_are_known() {
    let mut state = with_set(&["cat "]);
    state.refresh(Vec::new(), NOW);
    let owner = RuleName { set: "pets".to_owned(), name: "name of cat ".to_owned() };
    let sent = RuleAddition { owner, value: "cat ".to_owned(), tag: "t".to_owned() };
    state.add_known(x_rule("1", "cat", "t"), &sent, NOW);
    let known = &state.known.as_ref().expect("read").rules[0];
    assert_eq!((known.sent_value.as_deref(), known.added_time), (Some("cat "), Some(NOW)));
    state.remove_known(RuleId::new("2").ok().as_ref(), "cat");
    assert_eq!(state.counts(), (1, 0), "another rule");
    state.remove_known(RuleId::new("1").ok().as_ref(), "cat");
    assert_eq!(state.counts(), (0, 0));
}

#[test]
fn rejected_texts_are_kept_while_wanted() {
    let mut state = with_set(&["cat", "-dog"]);
    for value in ["-dog", "gone", "-dog"] {
        state.reject(value, "bad", NOW);
    }
    assert!(state.is_rejected("-dog") && state.rejected.len() == 2);
    state.forget_rejected();
    assert_eq!(state.rejected.len(), 1);
}

#[test]
fn changes_join_waiting_operation() {
    let mut state = RulesState::default();
    let first = state.begin_operation("file", NOW).id;
    assert_eq!(state.begin_operation("rpc", NOW).id, first);
    state.end_operation();
    assert_eq!(state.begin_operation("rpc", NOW).id, first + 1);
    assert!(state.find_operation(first).is_some() && state.find_operation(9).is_none());
    for _ in 0..2 * ENDED_MAX {
        state.begin_operation("rpc", NOW);
        state.end_operation();
    }
    assert_eq!(state.ended.len(), ENDED_MAX);
}
