//! Consumers that resume at another replica at each disconnect, and now and then without one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::{StartOutcome, TagFilter};
use powerstream_gateway::simulator::SimulatorHandle;
use tokio::task::JoinHandle;

use super::cluster::{Addresses, REPLICAS};
use crate::harness::env::Client;
use crate::harness::ground_truth::expected;
use crate::harness::{ResumingConsumer, Subscriber, eventually, filters, record};

/// Posts after which a consumer goes to another replica by itself.
const HOP_AFTER: usize = 150;
/// Wait before another replica is tried.
pub const RETRY: Duration = Duration::from_millis(50);

/// Consumers that read.
pub struct Consumers {
    x: SimulatorHandle,
    addresses: Addresses,
    reading: Vec<JoinHandle<ResumingConsumer>>,
    stopping: Arc<AtomicBool>,
}

impl Consumers {
    /// Starts consumers with different filters, each at another replica.
    pub fn start(x: &SimulatorHandle, addresses: &Addresses) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let filters = [filters::all(), filters::any(&["cats"]), filters::any_but(&["*"], &["links"])];
        let start = |(n, filter): (usize, TagFilter)| {
            let consumer = ResumingConsumer::new(x, filter);
            tokio::spawn(hop(consumer, n, addresses.clone(), stopping.clone()))
        };
        let reading = filters.into_iter().enumerate().map(start).collect();
        Self { x: x.clone(), addresses: addresses.clone(), reading, stopping }
    }

    /// Ends them, and verifies: every post once, and X never saw two connections.
    pub async fn verify(self, label: &str) {
        self.x.pause();
        self.stopping.store(true, Ordering::Relaxed);
        let mut consumers = Vec::new();
        for consumer in self.reading {
            consumers.push(consumer.await.expect("no rule of sessions was broken"));
        }
        verify(consumers, &self.x, &self.addresses, label).await;
    }
}

/// Verifies subscriptions, and one more over the whole log: every post once, and X never saw two connections.
pub async fn verify(consumers: Vec<ResumingConsumer>, x: &SimulatorHandle, addresses: &Addresses, label: &str) {
    let truth = x.sent_posts();
    let whole = ResumingConsumer::new(x, filters::all());
    let reading = consumers.into_iter().chain([whole]).enumerate();
    let all = join_all(reading.map(|(n, consumer)| read_all(consumer, n, (x, addresses)))).await;
    let terms = oracle::Terms { is_killed: true, is_settled: false, ..oracle::Terms::new() };
    for consumer in &all {
        let outcomes = &consumer.outcomes;
        assert!(
            outcomes.iter().all(|outcome| *outcome == StartOutcome::Exact),
            "nothing exposed is lost: {outcomes:?}"
        );
    }
    let subscriptions = all.iter().enumerate().map(|(n, consumer)| consumer.record(n)).collect();
    let history = record::history(x, subscriptions, terms, |_| true);
    record::assert_sound(label, &history);
    for consumer in &all {
        let due = expected(&truth, &consumer.filter);
        let mut got: Vec<u64> = consumer.got.iter().map(|event| event.post_id).collect();
        got.sort_unstable();
        let count = got.len();
        got.dedup();
        assert_eq!(count, got.len(), "a post came twice");
        let missing: Vec<_> = due.iter().filter(|post| got.binary_search(&post.post_id.0).is_err()).collect();
        assert!(missing.is_empty(), "X sends all of it in time, so no gap excuses {} posts", missing.len());
    }
    let hops: usize = all.iter().map(|consumer| consumer.outcomes.len()).sum();
    eprintln!("{label}: {} posts, {hops} sessions, {:?}", truth.len(), x.connections());
    assert_eq!(x.connections().live_max_ever, 1, "X never sees two connections");
}

async fn hop(
    mut consumer: ResumingConsumer,
    mut n: usize,
    addresses: Addresses,
    stopping: Arc<AtomicBool>,
) -> ResumingConsumer {
    while !stopping.load(Ordering::Relaxed) {
        n = (n + 1) % REPLICAS;
        let address = addresses.lock()[n];
        let client = match address {
            Some(address) => connect(address).await,
            None => None,
        };
        let Some(client) = client else {
            Clock::system().sleep(RETRY).await;
            continue;
        };
        let stopping = stopping.clone();
        let (before, token) = (consumer.sessions.len(), consumer.token.clone());
        consumer = consumer
            .read(client, move |session: &Subscriber| {
                session.got.len() >= HOP_AFTER || stopping.load(Ordering::Relaxed)
            })
            .await;
        if consumer.sessions.len() > before && consumer.outcomes.last() != Some(&StartOutcome::Exact) {
            let (outcome, resumed) = (consumer.outcomes.last(), consumer.sessions.last());
            eprintln!("replica {n} at {address:?} resumed {token:?} with {outcome:?}: {resumed:#?}");
        }
        if consumer.sessions.len() == before {
            Clock::system().sleep(RETRY).await;
        }
    }
    consumer
}

/// A client of the replica that listens there; `None` if it does not.
pub async fn connect(address: std::net::SocketAddr) -> Option<Client> {
    let connecting = Client::connect(format!("http://{address}"));
    let connected = Clock::system().timeout(Duration::from_secs(2), connecting).await.ok()?;
    Some(connected.ok()?.max_decoding_message_size(2 << 20))
}

/// Reads until everything is there, at whichever replica answers.
async fn read_all(
    consumer: ResumingConsumer,
    mut n: usize,
    (x, addresses): (&SimulatorHandle, &Addresses),
) -> ResumingConsumer {
    let truth = x.sent_posts();
    let due = expected(&truth, &consumer.filter).len();
    let mut attempts = Some(consumer);
    eventually("a consumer has all posts", async || {
        let own = attempts.take().expect("it was put back");
        let address = addresses.lock()[n % REPLICAS];
        n += 1;
        let left = due.saturating_sub(own.got.len());
        let own = match address {
            Some(address) => match connect(address).await {
                Some(client) => own.read(client, move |session| is_at_rest(session, left)).await,
                None => own,
            },
            None => own,
        };
        let is_whole = own.got.len() >= due;
        attempts = Some(own);
        is_whole
    })
    .await;
    attempts.expect("it was put back")
}

/// True if nothing came between two heartbeats: what is missing comes through another replica, or never.
fn is_at_rest(session: &Subscriber, left: usize) -> bool {
    let beats = &session.heartbeats;
    let is_quiet = beats.len() >= 2 && beats[beats.len() - 1].delivered_total == beats[beats.len() - 2].delivered_total;
    is_quiet && (session.got.len() >= left || beats.len() >= 5)
}
