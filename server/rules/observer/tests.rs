use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::*;
use crate::model::{Origin, Post, PostId, Rule, Term, UnixMillis};

const FIRST: u64 = 1_500_000_000_000_000_000;

fn record(sequence: u64, rules: &[(u64, &str)]) -> Record {
    let post = Post {
        id: PostId(FIRST + sequence),
        rules: rules.iter().map(|(id, tag)| Rule { id: Some(*id), tag: Some((*tag).into()) }).collect(),
        origin: Origin::Live,
        gap: None,
        counterpart: None,
        counterpart_rules: None,
        previous: None,
        json: Bytes::from(format!("{{\"id_str\":\"{}\",\"text\":\"a cat\"}}", FIRST + sequence)),
    };
    Record { sequence, term: Term(1), received: UnixMillis(1_000_000), body: RecordBody::Post(post) }
}

fn watched(id: u64, value: &str) -> WatchedRule {
    let (tag, set) = (Some("cats".into()), Some("pets".into()));
    WatchedRule { id, tag, value: value.into(), set, effective_by: UnixMillis(0) }
}

struct TestEnv {
    observer: RuleObserver,
    registry: Registry,
    drift: Arc<Mutex<Vec<u64>>>,
    on_drift: OnDrift,
    clock: Clock,
}

fn env(config: ObserverConfig, file: Option<PathBuf>) -> TestEnv {
    let (mut registry, drift) = (Registry::default(), Arc::new(Mutex::new(Vec::new())));
    let clock = Clock::with_rate(1_000.0, None);
    let reported = drift.clone();
    let observer = RuleObserver::open(ObserverParts {
        account: AccountName::new("main").expect("a name"),
        config,
        language: QuerySettings::default(),
        clock: clock.clone(),
        file,
        metrics: ObserverMetrics::register(&mut registry),
    });
    let on_drift: OnDrift = Box::new(move |drift| reported.lock().push(drift.rule_id));
    TestEnv { observer, registry, drift, on_drift, clock }
}

fn count(registry: &Registry, line: &str) -> u64 {
    let mut text = String::new();
    encode(&mut text, registry).expect("text");
    let found = text.lines().find_map(|own| own.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {line} in {text}"))
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Duration::from_secs(60);
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(deadline, wait).await.unwrap_or_else(|_| panic!("{what} within {deadline:?}"));
}

fn all_posts() -> ObserverConfig {
    ObserverConfig { calibrate: 1.0, ..ObserverConfig::default() }
}

#[tokio::test]
async fn posts_are_counted_compared_and_stored() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("main.evidence.json");
    let TestEnv { observer, registry, drift, on_drift, clock } = env(all_posts(), Some(file.clone()));
    let (feed, seen, shutdown) = (observer.feed(), observer.observations(), Shutdown::new());
    seen.set_rules(vec![watched(1, "cat"), watched(2, "dog")]);
    let running = tokio::spawn(observer.run(shutdown.clone(), on_drift));
    let now = |record: Record| Record { received: clock.now(), ..record };
    let records = [now(record(1, &[(1, "cats"), (9, "dogs")])), now(record(2, &[(2, "cats")]))];
    feed.send(feed.select(&records));
    until("drift", || !drift.lock().is_empty()).await;
    assert_eq!(*drift.lock(), [9]);
    assert_eq!(seen.unknown_ids(), [9]);
    assert_eq!(seen.sightings(1).expect("known").matches_24h, 1);
    assert_eq!(count(&registry, "rule_matches_total{set=\"pets\"}"), 2);
    assert_eq!(count(&registry, "rule_matches_total{set=\"unknown\"}"), 1);
    // Of post 1 both match rule 1; of post 2 we match rule 1 and X rule 2.
    let results = ["agree", "ours_only", "x_only"]
        .map(|name| count(&registry, &format!("rule_calibration_total{{operator=\"keyword\",verdict=\"{name}\"}}")));
    assert_eq!(results, [1, 1, 1]);
    assert_eq!(seen.calibration(Calibration::posts), 2);

    shutdown.cancel();
    running.await.expect("no panic");
    let again = env(all_posts(), Some(file.clone())).observer.observations();
    again.set_rules(vec![watched(1, "cat")]);
    assert_eq!(again.sightings(1), seen.sightings(1));
    std::fs::write(&file, "damaged").expect("ours");
    let fresh = env(all_posts(), Some(file)).observer.observations();
    fresh.set_rules(vec![watched(1, "cat")]);
    assert_eq!(fresh.sightings(1), Some(Sightings::default()));
}

/// A slow observer costs the sequencer nothing but the posts that it does not see.
#[tokio::test]
async fn full_queue_drops_and_counts() {
    let config = ObserverConfig { observer_queue_bytes_max: 10 * POST_BYTES, calibrate: 0.0 };
    let TestEnv { observer, registry, on_drift, .. } = env(config, None);
    let feed = observer.feed();
    observer.observations().set_rules(vec![watched(1, "cat")]);
    let records: Vec<_> = (0..4).map(|n| record(n, &[(1, "cats")])).collect();
    (0..5).for_each(|_| feed.send(feed.select(&records)));
    assert_eq!(count(&registry, "rule_posts_dropped_total"), 12);
    let (seen, shutdown) = (observer.observations(), Shutdown::new());
    let running = tokio::spawn(observer.run(shutdown.clone(), on_drift));
    until("the queue is empty", || feed.queued_bytes.load(Ordering::Acquire) == 0).await;
    assert_eq!(count(&registry, "rule_matches_total{set=\"pets\"}"), 8);
    feed.send(feed.select(&records));
    until("it continues", || feed.queued_bytes.load(Ordering::Acquire) == 0).await;
    assert_eq!(count(&registry, "rule_matches_total{set=\"pets\"}"), 12);
    shutdown.cancel();
    running.await.expect("no panic");
    feed.send(feed.select(&records));
    assert_eq!(count(&registry, "rule_posts_dropped_total"), 16, "the observer has ended");
    assert_eq!(seen.calibration(Calibration::posts), 0);
}

#[test]
fn only_sampled_posts_are_copied() {
    let TestEnv { observer, .. } = env(ObserverConfig { calibrate: 0.1, ..ObserverConfig::default() }, None);
    let feed = observer.feed();
    let records: Vec<_> = (0..2_000).map(|n| record(n, &[(1, "cats")])).collect();
    let copied = |feed: &RuleFeed| feed.select(&records).iter().filter(|post| post.json.is_some()).count();
    assert!((100..300).contains(&copied(&feed)), "{}", copied(&feed));
    feed.set_calibrate(0.0);
    assert_eq!(copied(&feed), 0);
    assert_eq!(feed.select(&records).len(), 2_000);
}
