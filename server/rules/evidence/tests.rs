use super::*;

const MINUTE: i64 = 60_000;

fn watched(id: u64, tag: &str) -> WatchedRule {
    WatchedRule {
        id,
        tag: Some(tag).filter(|tag| !tag.is_empty()).map(Into::into),
        value: "cat".into(),
        set: id.is_multiple_of(2).then(|| "pets".into()),
        effective_by: UnixMillis(0),
    }
}

fn post(minutes: i64, rules: &[(u64, &str)]) -> SeenPost {
    let tag = |text: &str| Some(text).filter(|text| !text.is_empty()).map(Into::into);
    SeenPost {
        id: PostId(1),
        received: UnixMillis(minutes * MINUTE),
        origin: Origin::Live,
        rules: rules.iter().map(|(id, text)| Rule { id: Some(*id), tag: tag(text) }).collect(),
        prior: None,
        json: None,
    }
}

fn at(minutes: i64) -> UnixMillis {
    UnixMillis(minutes * MINUTE)
}

/// Observes a post and returns the sets that it matched.
fn observe(evidence: &mut Evidence, post: &SeenPost) -> Vec<String> {
    let mut sets = Vec::new();
    evidence.observe(post, |set| sets.push(format!("{set:?}")));
    sets
}

#[test]
fn matches_are_counted_by_rule_and_set() {
    let mut evidence = Evidence::default();
    assert_eq!(observe(&mut evidence, &post(0, &[(1, "a")])), Vec::<String>::new(), "no rule is known yet");
    evidence.set_rules(vec![watched(1, "a"), watched(2, "b")], at(0));
    assert_eq!(
        observe(&mut evidence, &post(1, &[(1, "a"), (2, "b"), (9, "x")])),
        ["Unmanaged", "Set(\"pets\")", "Unknown"]
    );
    // Of a post that came again only the rules that are new.
    let again = SeenPost { prior: Some(post(1, &[(1, "a")]).rules), ..post(2, &[(1, "a"), (2, "b")]) };
    assert_eq!(observe(&mut evidence, &again), ["Set(\"pets\")"]);
    let (one, two) = (evidence.sightings(1, at(3)).expect("known"), evidence.sightings(2, at(3)).expect("known"));
    assert_eq!((one.matches_24h, one.first_seen, one.last_seen), (1, Some(at(1)), Some(at(1))));
    assert_eq!((two.matches_24h, two.first_seen, two.last_seen), (2, Some(at(1)), Some(at(2))));
    assert_eq!(evidence.sightings(9, at(3)), None);
    assert_eq!(evidence.sightings(2, at(2 * 24 * 60)).expect("known").matches_24h, 0);
}

#[test]
fn unknown_id_is_drift_after_grace() {
    let mut evidence = Evidence::default();
    evidence.set_rules(vec![watched(1, "a")], at(0));
    // Posts that X sends again, and rules that were removed a moment ago, show nothing.
    observe(&mut evidence, &SeenPost { origin: Origin::Backfill, ..post(1, &[(7, "old")]) });
    observe(&mut evidence, &SeenPost { origin: Origin::Recovery, ..post(1, &[(7, "old")]) });
    evidence.set_rules(vec![watched(2, "b")], at(2));
    observe(&mut evidence, &post(3, &[(1, "a")]));
    assert_eq!(evidence.take_drift(at(60)), []);

    observe(&mut evidence, &post(60, &[(8, "new"), (9, "")]));
    assert_eq!(evidence.take_drift(at(61)), [], "its answer may not be read yet");
    evidence.set_rules(vec![watched(2, "b"), watched(8, "new")], at(61));
    let drift = Drift { rule_id: 9, tag: None, is_known: false };
    assert_eq!(evidence.take_drift(at(62)), [drift]);
    observe(&mut evidence, &post(63, &[(9, "")]));
    assert_eq!(evidence.take_drift(at(70)), [], "once");
    assert_eq!(evidence.unknown_ids().collect::<Vec<_>>(), [(9, at(60))]);
    evidence.watch(at(63 + 24 * 60));
    assert_eq!(evidence.unknown_ids().count(), 0);
}

#[test]
fn known_id_with_other_tag_is_drift() {
    let mut evidence = Evidence::default();
    evidence.set_rules(vec![watched(1, "a"), watched(2, "")], at(0));
    observe(&mut evidence, &SeenPost { origin: Origin::Recovery, ..post(1, &[(1, "b")]) });
    observe(&mut evidence, &post(1, &[(1, "a"), (2, "")]));
    assert_eq!(evidence.take_drift(at(1)), []);
    observe(&mut evidence, &post(2, &[(1, "b"), (2, "")]));
    observe(&mut evidence, &post(3, &[(1, "b")]));
    assert_eq!(evidence.take_drift(at(3)), [Drift { rule_id: 1, tag: Some("b".into()), is_known: true }]);
    assert!(evidence.sightings(1, at(3)).expect("known").has_other_tag);
    // Read again: the tag is as posts have it.
    evidence.set_rules(vec![watched(1, "b"), watched(2, "")], at(4));
    observe(&mut evidence, &post(5, &[(1, "b")]));
    assert_eq!(evidence.take_drift(at(6)), []);
    assert!(!evidence.sightings(1, at(6)).expect("known").has_other_tag);
}

#[test]
fn memory_for_unknown_and_removed_is_bounded() {
    let mut evidence = Evidence::default();
    evidence.set_rules(Vec::new(), at(0));
    for id in 0..1_000 {
        observe(&mut evidence, &post(0, &[(id, "x")]));
    }
    assert_eq!(evidence.take_drift(at(10)).len(), UNKNOWN_MAX);
    for round in 0..5 {
        evidence.set_rules((0..1_000).map(|id| watched(round * 1_000 + id, "a")).collect(), at(20 + round as i64));
    }
    assert_eq!(evidence.retired.len(), RETIRED_MAX);
    assert!(evidence.retired.keys().all(|id| *id >= 2_000), "the oldest are forgotten first");
}

#[test]
fn rule_is_dead_after_watched_week() {
    let mut evidence = Evidence::default();
    evidence.set_rules(vec![watched(1, "a"), watched(2, "b")], at(0));
    let hours =
        |evidence: &mut Evidence, from: i64, to: i64| (from..=to).for_each(|hour| evidence.watch(at(hour * 60)));
    hours(&mut evidence, 0, 100);
    observe(&mut evidence, &post(100 * 60, &[(2, "b")]));
    hours(&mut evidence, 101, 167);
    assert_eq!(evidence.dead_rules(at(167 * 60)).len(), 0);
    let dead = |evidence: &Evidence, hour: i64| {
        evidence.dead_rules(at(hour * 60)).iter().map(|rule| rule.id).collect::<Vec<_>>()
    };
    evidence.watch(at(168 * 60));
    assert_eq!(dead(&evidence, 168), [1]);
    // A rule that was added later is not dead yet, and one that matches again is alive.
    evidence.set_rules(vec![watched(1, "a"), watched(2, "b"), watched(3, "c")], at(200 * 60));
    observe(&mut evidence, &post(201 * 60, &[(1, "a")]));
    hours(&mut evidence, 169, 280);
    assert_eq!(dead(&evidence, 280), [2]);
    // Stopped for longer than X recovers: nothing is known of that time.
    evidence.watch(at(280 * 60 + 25 * 60));
    assert_eq!(dead(&evidence, 305), Vec::<u64>::new());
    hours(&mut evidence, 306, 305 + 168);
    assert_eq!(dead(&evidence, 305 + 168), [1, 2, 3]);
}

#[test]
fn restart_continues_counts() {
    let mut evidence = Evidence::default();
    evidence.set_rules(vec![watched(u64::MAX, "a"), watched(2, "b")], at(0));
    evidence.watch(at(0));
    (0..5).for_each(|minute| drop(observe(&mut evidence, &post(minute, &[(u64::MAX, "a")]))));
    evidence.set_rules(vec![watched(u64::MAX, "a")], at(6));
    let file = encode(&evidence).expect("serializable");
    let mut restored = decode(&file).expect("our own");
    // Saved again before the rules are known.
    restored = decode(&encode(&restored).expect("serializable")).expect("our own");
    restored.set_rules(vec![watched(u64::MAX, "a")], at(8));
    assert_eq!(restored.sightings(u64::MAX, at(8)), evidence.sightings(u64::MAX, at(8)));
    observe(&mut restored, &post(9, &[(2, "b")]));
    assert_eq!(restored.take_drift(at(60)), [], "removed before the restart");
    restored.watch(at(10));
    assert_eq!(restored.watched_since, Some(at(0)));
    for damaged in [&file[..file.len() / 2], b"{}", b"{\"version\":9}"] {
        assert!(decode(damaged).is_err());
    }
    let other = String::from_utf8(file).expect("JSON").replace("\"version\":1", "\"version\":9");
    assert!(decode(other.as_bytes()).is_err_and(|error| error.contains("version 9")));
}
