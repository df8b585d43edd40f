use super::*;
use crate::model::Rule;
use crate::query::Dialect;

fn watched(id: u64, value: &str) -> WatchedRule {
    WatchedRule { id, tag: None, value: value.into(), set: None, effective_by: UnixMillis(1_000) }
}

fn post(id: u64, text: &str, named: &[u64]) -> SeenPost {
    let json =
        serde_json::json!({"id_str": id.to_string(), "text": text, "user": {"screen_name": "ada", "id_str": "1"}});
    SeenPost {
        id: PostId(id),
        received: UnixMillis(2_000),
        origin: Origin::Live,
        rules: named.iter().map(|id| Rule { id: Some(*id), tag: None }).collect(),
        prior: None,
        json: Some(json.to_string().into_bytes().into()),
    }
}

fn calibration(rules: &[WatchedRule]) -> Calibration {
    let mut calibration = Calibration::new(QuerySettings::of(Dialect::Powerstream));
    calibration.set_rules(rules);
    calibration
}

fn counts(calibration: &Calibration, operator: &str) -> (u64, u64, u64) {
    calibration.operators().get(operator).map_or((0, 0, 0), |own| (own.agree, own.x_only, own.ours_only))
}

#[test]
fn differences_are_counted_by_operator_with_samples() {
    let mut calibration = calibration(&[
        watched(1, "cat"),
        watched(2, "\"big cat\" from:ada"),
        watched(3, "dog -cat"),
        watched(4, "sample:10 cat"),
    ]);
    let mut counted = Vec::new();
    calibration.observe(&post(7, "one cat", &[1]), |operator, agreement| counted.push((operator, agreement.name())));
    // Both of rule 1, and ours of rule 4 if the post belongs to our sample.
    assert_eq!(counted[0], ("keyword", "agree"));
    calibration.observe(&post(8, "a big cat", &[1]), |_, _| ());
    calibration.observe(&post(9, "nothing", &[1, 3]), |_, _| ());
    assert_eq!(counts(&calibration, "phrase"), (0, 0, 1));
    assert_eq!(counts(&calibration, "from"), (0, 0, 1));
    assert_eq!(counts(&calibration, "keyword"), (2, 2, 0));
    assert_eq!(counts(&calibration, "not"), (0, 1, 0));
    let samples = &calibration.operators()["phrase"].ours_only_samples;
    assert_eq!((samples[0].post, samples[0].rule_id, &*samples[0].value), (PostId(8), 2, "\"big cat\" from:ada"));
    assert_eq!(calibration.posts(), 3);
}

#[test]
fn samples_are_bounded() {
    let mut calibration = calibration(&[watched(1, "cat")]);
    (0..100).for_each(|id| calibration.observe(&post(id, "cat", &[]), |_, _| ()));
    let own = &calibration.operators()["keyword"];
    assert_eq!((own.ours_only, own.ours_only_samples.len()), (100, SAMPLES_MAX));
    assert_eq!(own.ours_only_samples[0].post, PostId(0), "the first ones");
}

/// What X had not applied yet, sent again, or named of another time is not compared.
#[test]
fn only_live_posts_of_applied_rules_count() {
    let mut calibration = calibration(&[watched(1, "cat")]);
    let good = || post(1, "cat", &[]);
    for skipped in [
        SeenPost { received: UnixMillis(999), ..good() },
        SeenPost { origin: Origin::Recovery, ..good() },
        SeenPost { origin: Origin::Backfill, ..good() },
        SeenPost { prior: Some([].into()), ..good() },
        SeenPost { json: None, ..good() },
        SeenPost { json: Some((*b"[").into()), ..good() },
    ] {
        calibration.observe(&skipped, |operator, agreement| panic!("{operator} {agreement:?}"));
    }
    calibration.observe(&good(), |_, agreement| assert_eq!(agreement, Agreement::OursOnly));
    assert_eq!(counts(&calibration, "keyword"), (0, 0, 1));
}

#[test]
fn rules_beyond_checker_are_listed() {
    let mut calibration = calibration(&[watched(1, "cat"), watched(2, "lang:english cat"), watched(3, "(cat")]);
    assert_eq!(calibration.unreadable().iter().map(|rule| rule.id).collect::<Vec<_>>(), [2, 3]);
    calibration.set_rules(&[watched(2, "cat"), watched(1, "cat")]);
    assert_eq!(calibration.unreadable().len(), 0);
    calibration.observe(&post(1, "cat", &[1, 2]), |_, _| ());
    assert_eq!(counts(&calibration, "keyword"), (2, 0, 0));
}

#[test]
fn operators_of_rule_are_named_once() {
    for (rule, expected) in [
        ("cat cat dog", vec!["keyword"]),
        ("coca-cola", vec!["keyword_punctuation"]),
        ("猫 \"黒い猫\"", vec!["keyword_cjk", "phrase_cjk"]),
        ("@ada #cat $twtr -is:retweet has:media", vec!["cashtag", "has", "hashtag", "is", "mention", "not"]),
        ("cat point_radius:[1 2 10km] url_contains:news", vec!["keyword", "point_radius", "url_contains"]),
        ("cat lang:en sample:10", vec!["sample"]),
    ] {
        let settings = QuerySettings { unlisted_operators: true, ..QuerySettings::of(Dialect::Powerstream) };
        let report = crate::query::check(rule, &settings);
        let query = report.query.unwrap_or_else(|| panic!("{rule}: {:?}", report.findings));
        assert_eq!(operators(query.tree()), expected, "{rule}");
    }
}

#[test]
fn fraction_of_posts_is_sampled() {
    let ids = (0..20_000_u64).map(|n| PostId(1_500_000_000_000_000_000 + n * 4_194_304));
    let count = |fraction| ids.clone().filter(|id| is_sampled(*id, fraction)).count();
    assert_eq!((count(0.0), count(1.0)), (0, 20_000));
    assert!((140..260).contains(&count(0.01)), "{}", count(0.01));
    assert!(ids.clone().filter(|id| is_sampled(*id, 0.01)).all(|id| is_sampled(id, 0.02)));
}
