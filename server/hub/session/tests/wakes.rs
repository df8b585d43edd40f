//! No wake-up is lost in any race with parking.

use super::*;
use crate::hub::test_util::new_hub;

/// Sessions, each with a tag of its own.
const SESSIONS: u64 = 1_000;
/// Posts for each.
const ROUNDS: u64 = 12;
/// So long that no session finds a post by its heartbeat in time.
const HEARTBEAT: Duration = Duration::from_secs(60);

fn session(hub: &Arc<Hub>, number: u64) -> Session {
    let filter =
        Filter::new(&FilterSpec { any_of: vec![format!("t{number}")], ..FilterSpec::default() }).expect("good");
    let info = SessionInfo { consumer: "c".into(), since: hub.clock().now(), ..SessionInfo::default() };
    let opening = SessionParams {
        guard: hub.register(info).expect("room"),
        member: hub.enter(filter).expect("within"),
        pace: pace(HEARTBEAT),
        resolved: start::resolve(hub, &Start::Latest, StartPolicy::Fail, true).expect("the tip"),
        session_id: String::new(),
        consumer: "c".into(),
        warnings: Vec::new(),
        access: None,
    };
    Session::open(hub.clone(), opening)
}

/// Publishes the posts of a round, in an order and in batches that differ between rounds.
fn publish(hub: &Hub, writer: &mut dyn Writer, round: u64) {
    let step = [1, 7, 13, 501][round as usize % 4];
    let order: Vec<u64> = (0..SESSIONS).map(|at| (at * step + round) % SESSIONS).collect();
    for tags in order.chunks(1 + (round as usize % 5)) {
        let next = hub.next();
        let record = |(at, tag): (u64, &u64)| Record {
            received: hub.clock().now(),
            ..post_record(next + at, &[&format!("t{tag}")])
        };
        let records: Vec<Record> = (0..).zip(tags).map(record).collect();
        writer.append(&records).expect("memory takes it");
        hub.publish(records);
    }
}

/// Heartbeats are every minute, and posts race with parking sessions: each is found by a wake-up, never by a timer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn records_are_found_by_wakes_alone() {
    let (hub, mut writer) = new_hub(Config::default(), Clock::with_rate(1.0, None));
    let read = |number| {
        let mut session = session(&hub, number);
        tokio::spawn(async move {
            let mut got = Vec::new();
            while (got.len() as u64) < ROUNDS {
                got.extend(sequences(&session.next().await.expect("the session continues")));
            }
            got
        })
    };
    let reading: Vec<_> = (0..SESSIONS).map(read).collect();
    let publishing = {
        let hub = hub.clone();
        std::thread::spawn(move || (0..ROUNDS).for_each(|round| publish(&hub, &mut *writer, round)))
    };
    for reading in reading {
        let got = reading.await.expect("it reads to its end");
        assert!(got.is_sorted() && got.len() as u64 == ROUNDS, "{got:?}");
    }
    publishing.join().expect("all appended");
    assert_eq!(hub.metrics().found_by_timer.get(), 0, "no record waits for a heartbeat");
}

/// A wake-up counts as missed only for a record that matches and was there for longer than a wake-up takes.
#[tokio::test]
async fn missed_wake_is_of_own_older_record() {
    let (hub, mut writer) = new_hub(Config::default(), Clock::with_rate(1.0, None));
    let [own, other] = [1, 2].map(|number| session(&hub, number));
    let mut publish = |received| {
        let records = vec![Record { received, ..post_record(hub.next(), &["t1"]) }];
        writer.append(&records).expect("memory takes it");
        hub.publish(records);
    };
    assert!(!own.has_missed_wake(), "there is nothing");
    publish(hub.clock().now().plus(Duration::from_secs(60)));
    assert!(!own.has_missed_wake(), "its wake-up may be on its way");
    publish(UnixMillis(1));
    assert!(own.has_missed_wake() && !other.has_missed_wake());
}
