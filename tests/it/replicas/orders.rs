//! What replicas that follow pass to the leader: recovery jobs, and the private gaps of their sessions.

use std::collections::BTreeSet;
use std::time::Duration;

use powerstream_gateway::hub::token::ResumeToken;
use powerstream_gateway::model::{Epoch, Position, Term, TimeRange, UnixMillis};
use powerstream_gateway::proto::recovery_service_client::RecoveryServiceClient;
use powerstream_gateway::proto::{
    CancelRecoveryJobRequest, CreateRecoveryJobRequest, GetStreamRequest, ListRecoveryJobsRequest, RecoveryJob,
    RecoveryJobState, ReplicaRole, StartOutcome, TimeInterval,
};
use powerstream_gateway::simulator::SimulatorHandle;
use prost_types::Timestamp;
use tonic::Status;
use tonic::transport::Channel;

use super::cluster::{REPLICAS, count};
use super::consumers::connect;
use super::in_memory::{MemoryReplicas, name};
use crate::harness::requests::is_recovery;
use crate::harness::{ResumingConsumer, Subscriber, eventually, filters, in_time, reason};

const MINUTE: Duration = Duration::from_secs(60);
/// Posts per second of a job: it lasts for longer than the changes.
const JOB_RATE: f64 = 30.0;
/// Leaders that are cut off, unless `JOB_LEADERS` sets another number.
const JOB_LEADERS: usize = 2;

async fn client(replicas: &MemoryReplicas, n: usize) -> RecoveryServiceClient<Channel> {
    let connecting = RecoveryServiceClient::connect(format!("http://{}", replicas.app(n).grpc_address()));
    in_time("a connection to the gateway", connecting).await.expect("it listens")
}

fn at(time: UnixMillis) -> Option<Timestamp> {
    Some(Timestamp { seconds: time.0.div_euclid(1_000), nanos: 0 })
}

async fn create(replicas: &MemoryReplicas, n: usize, span: TimeRange) -> Result<RecoveryJob, Status> {
    let interval = Some(TimeInterval { start_time: at(span.from), end_time: at(span.to) });
    let request = CreateRecoveryJobRequest { account: String::new(), interval };
    let created = client(replicas, n).await.create_recovery_job(request).await?;
    Ok(created.into_inner().job.expect("it has the job"))
}

async fn jobs(replicas: &MemoryReplicas, n: usize) -> Vec<RecoveryJob> {
    let listed = client(replicas, n).await.list_recovery_jobs(ListRecoveryJobsRequest::default()).await;
    listed.expect("it is served").into_inner().jobs
}

/// Another follower than this replica.
fn other(leader: usize, n: usize) -> usize {
    (0..REPLICAS).find(|other| *other != leader && *other != n).expect("there are three")
}

/// Replicas of an X that sends nothing now, and sent posts between these minutes before.
async fn with_history((from, to): (u32, u32), rate: f64) -> MemoryReplicas {
    let mut made = 0;
    let history = |x: &SimulatorHandle| {
        let now = x.now();
        made = x.history(TimeRange::new(now.minus(from * MINUTE), now.minus(to * MINUTE)), rate);
    };
    let replicas = MemoryReplicas::start_after(0.0, |_| (), history).await;
    assert!(made > 0, "there are posts of that time");
    assert_eq!(replicas.env.x.sent_posts().len() as u64, made);
    replicas
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_pass_job_orders_to_leader() {
    // Jobs wait: their windows are too young.
    let slow = |settings: &mut powerstream_gateway::config::Settings| {
        settings.ingest.recovery.window_age_min = Duration::from_secs(12 * 3_600);
    };
    let replicas = MemoryReplicas::start(0.0, slow).await;
    let leader = replicas.leader().await;
    let one = other(leader, leader);
    let two = other(leader, one);
    let now = replicas.hub(leader).clock().now();
    let span = |from: u32, to: u32| TimeRange::new(now.minus(from * MINUTE), now.minus(to * MINUTE));
    let created = create(&replicas, one, span(60, 50)).await.expect("the leader creates it");
    let is_known = |listed: &[RecoveryJob]| listed.iter().any(|job| job.job_id == created.job_id);
    assert!(is_known(&jobs(&replicas, one).await), "the replica that passed it on has it");
    for n in [leader, two] {
        eventually("the job is listed", async || is_known(&jobs(&replicas, n).await)).await;
    }
    // The same interval again, at each replica, is the same job.
    for n in 0..REPLICAS {
        assert_eq!(
            create(&replicas, n, span(60, 50)).await.expect("it is known").job_id,
            created.job_id,
            "replica {n}"
        );
    }
    let refused = create(&replicas, two, span(60 * 30, 50)).await.expect_err("it is too old");
    assert_eq!(reason(&refused), "POSITION_TOO_OLD");
    let cancel = CancelRecoveryJobRequest { account: String::new(), job_id: created.job_id.clone() };
    let cancelled = client(&replicas, two).await.cancel_recovery_job(cancel.clone()).await.expect("it is known");
    assert_eq!(cancelled.into_inner().job.expect("a job").state(), RecoveryJobState::Cancelled);
    eventually("it is cancelled everywhere", async || {
        jobs(&replicas, one).await.iter().all(|job| job.state() == RecoveryJobState::Cancelled)
    })
    .await;
    let unknown = CancelRecoveryJobRequest { job_id: "j999".into(), ..cancel.clone() };
    let unknown = client(&replicas, two).await.cancel_recovery_job(unknown).await.expect_err("no such job");
    assert_eq!(reason(&unknown), "JOB_NOT_FOUND");
    // Without a leader nothing is ordered.
    replicas.shared.stop();
    for n in 0..REPLICAS {
        let refused = create(&replicas, n, span(40, 30)).await.expect_err("no replica leads");
        assert_eq!(reason(&refused), "NOT_LEADER", "replica {n}");
    }
    replicas.shared.start();
    replicas.leader().await;
    replicas.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_info_shows_replica() {
    let replicas = MemoryReplicas::start(0.0, |_| ()).await;
    let leader = replicas.leader().await;
    for n in 0..REPLICAS {
        let mut client = connect(replicas.app(n).grpc_address()).await.expect("it listens");
        eventually("the leader is known", async || {
            let stream =
                client.get_stream(GetStreamRequest::default()).await.expect("it is served").into_inner().stream;
            let shown = stream.and_then(|stream| stream.replica).expect("there are replicas");
            assert_eq!(shown.name, name(n));
            let role = if n == leader { ReplicaRole::Leader } else { ReplicaRole::Follower };
            assert_eq!(shown.role(), role);
            shown.leader == name(leader) && shown.lag_messages == 0
        })
        .await;
    }
    replicas.stop().await;
}

/// R8: a subscription of a lost log resumes at followers, hops between them, and gets what it missed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_gap_is_recovered_on_followers() {
    let replicas = with_history((14, 10), 5.0).await;
    let leader = replicas.leader().await;
    let hub = replicas.hub(leader);
    eventually("a record is there", async || hub.next() > 1).await;
    let reached = hub.clock().now().minus(15 * MINUTE);
    let token = ResumeToken {
        account: hub.account().clone(),
        position: Position { epoch: Epoch(99), term: Term(9), sequence: 500 },
        low_watermark: reached,
        received_up_to: reached,
        subscription_start: reached,
        subscription_from: None,
        filter: ResumeToken::NO_FILTER,
        duplicates_until: None,
        private: None,
    };
    let mut consumer = ResumingConsumer::new(&replicas.env.x, filters::all());
    consumer.token = Some(hub.seal(&token));
    let due: BTreeSet<u64> = replicas.env.x.sent_posts().iter().map(|post| post.post_id.0).collect();
    let mut n = other(leader, leader);
    eventually("all posts were recovered", async || {
        let client = connect(replicas.app(n).grpc_address()).await.expect("it listens");
        let had = consumer.got.len();
        let wanted = (had + 60).min(due.len());
        let read = consumer.clone().read(client, move |session: &Subscriber| {
            had + session.got.len() >= wanted || session.heartbeats.len() > 8
        });
        consumer = read.await;
        n = if n == leader { other(leader, leader) } else { (n + 1) % REPLICAS };
        consumer.got.len() >= due.len()
    })
    .await;
    assert_eq!(consumer.outcomes[0], StartOutcome::TimeBounded);
    assert!(consumer.outcomes[1..].iter().all(|outcome| *outcome == StartOutcome::Exact), "{:?}", consumer.outcomes);
    assert!(consumer.outcomes.len() > 2, "it hopped");
    let got: BTreeSet<u64> = consumer.got.iter().map(|event| event.post_id).collect();
    assert_eq!(got.len(), consumer.got.len(), "nothing came twice");
    assert!(got.is_superset(&due), "{} of {} posts", got.len(), due.len());
    assert!(replicas.env.x.connections().recovery_max_ever <= 2);
    assert_eq!(replicas.env.x.connections().live_max_ever, 1);
    replicas.stop().await;
}

/// I2: two jobs run while leaders are cut off, each for longer than its lease. They end, X never sees a third one, and a
/// subscription gets each post of their intervals once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_end_while_leaders_change() {
    let replicas = with_history((40, 20), 2.0).await;
    let x = &replicas.env.x;
    x.update_config(|config| config.recovery_rate = JOB_RATE);
    let leader = replicas.leader().await;
    let now = replicas.hub(leader).clock().now();
    let span = |from: u32, to: u32| TimeRange::new(now.minus(from * MINUTE), now.minus(to * MINUTE));
    let mut ids = BTreeSet::new();
    for (n, interval) in [(0, span(40, 30)), (1, span(30, 20))] {
        ids.insert(create(&replicas, n, interval).await.expect("the leader creates it").job_id);
    }
    let states = async |n: usize| {
        let listed = jobs(&replicas, n).await.into_iter().filter(|job| ids.contains(&job.job_id));
        listed.map(|job| job.state()).collect::<Vec<_>>()
    };
    let mut changes = 0;
    while changes < count("JOB_LEADERS", JOB_LEADERS) {
        let leader = replicas.leader().await;
        eventually("X sends both jobs", async || x.connections().recovery == 2).await;
        replicas.shared.disconnect(&name(leader));
        eventually("another replica leads", async || {
            replicas.hub(leader).upstream().is_following() && replicas.leading().is_some_and(|next| next != leader)
        })
        .await;
        replicas.shared.connect(&name(leader));
        changes += 1;
    }
    replicas.leader().await;
    for n in 0..REPLICAS {
        eventually("the jobs have ended", async || {
            states(n).await.iter().all(|state| *state == RecoveryJobState::Succeeded)
        })
        .await;
    }
    let asked = x.requests().iter().filter(|request| is_recovery(request)).count();
    assert!(asked >= 2 * (1 + changes), "each leader asked for both: {asked} requests");
    assert_eq!((x.connections().recovery_max_ever, x.connections().live_max_ever), (2, 1));
    let due = x.sent_posts().len();
    let client = connect(replicas.app(0).grpc_address()).await.expect("it listens");
    let consumer = ResumingConsumer::new(x, filters::all());
    let consumer =
        consumer.read(client, move |session: &Subscriber| session.got.len() >= due && session.heartbeats.len() >= 2);
    let consumer = consumer.await;
    let got: BTreeSet<u64> = consumer.got.iter().map(|event| event.post_id).collect();
    assert_eq!((consumer.got.len(), got.len()), (due, due), "each post once");
    replicas.stop().await;
}
