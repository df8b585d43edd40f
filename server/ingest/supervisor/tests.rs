use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::*;
use crate::hub;
use crate::hub::test_util::new_hub;
use crate::ingest::{IngestItem, gap_tracker, queue};
use crate::model::UnixMillis;
use crate::secret::SecretSource;
use crate::xapi::{BodyError, Headers, Response, TransportError};

mod states;

/// Answers every request with a silent stream.
#[derive(Default)]
struct Silent(AtomicUsize);

impl Transport for Silent {
    fn connect<'a>(&'a self, _: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let body = futures::stream::pending().boxed();
        futures::future::ready(Ok(Response { status: 200, headers: Headers::default(), body })).boxed()
    }
}

async fn until(hub: &Hub, state: UpstreamState) {
    let mut status = hub.upstream().watch();
    let reached = hub.clock().timeout(Duration::from_secs(60), status.wait_for(|status| status.state == state));
    reached.await.expect("in time").expect("hub exists");
}

#[tokio::test]
async fn reconnects_when_journal_is_writable() {
    let (hub, _writer) = new_hub(hub::Config::default(), Clock::system());
    let dir = tempfile::tempdir().expect("a directory");
    let bearer = dir.path().join("bearer");
    std::fs::write(&bearer, "bearer").expect("written");
    let transport = Arc::new(Silent::default());
    let upstream = UpstreamEndpoint {
        transport: transport.clone(),
        base_url: "http://127.0.0.1:1".parse().expect("a URL"),
        credentials: Credentials::new(SecretSource::File(bearer)),
        local_dc_only: false,
        config: upstream::Config::default(),
        metrics: upstream::Metrics::default(),
    };
    let (queue, _intakes) = queue(1);
    let place = ConnectionId { feed: 0, connection: 0 };
    let tracker = gap_tracker::test_util::in_memory(&hub);
    let session = ConnectionSupervisor::new(hub.clone(), upstream, place, tracker, queue, Metrics::default(), 1);
    let shutdown = Shutdown::new();
    let running = tokio::spawn(session.run(shutdown.clone()));
    until(&hub, UpstreamState::Connected).await;
    hub.upstream().update(|status| status.journal_unavailable = true);
    until(&hub, UpstreamState::BackingOff).await;
    assert_eq!(transport.0.load(Ordering::Relaxed), 1, "no request while the journal is unavailable");
    hub.upstream().update(|status| status.journal_unavailable = false);
    until(&hub, UpstreamState::Connected).await;
    assert_eq!(transport.0.load(Ordering::Relaxed), 2);
    shutdown.cancel();
    running.await.expect("it ends");
    assert_eq!(hub.upstream().status().state, UpstreamState::Stopped);
}

/// Answers with these `Date` headers, in milliseconds ahead of the host; then without one.
struct Dated {
    host: Clock,
    ahead_ms: Mutex<VecDeque<i64>>,
    requests: AtomicUsize,
}

impl Transport for Dated {
    fn connect<'a>(&'a self, _: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let date = self.ahead_ms.lock().pop_front().map(|ahead| self.host.now().shifted(ahead));
        let (headers, body) = (Headers { date, ..Headers::default() }, futures::stream::pending().boxed());
        futures::future::ready(Ok(Response { status: 200, headers, body })).boxed()
    }
}

/// Effect of the `Date` of responses on the clock of the account: number of requests, and correction after each
/// response.
#[tokio::test]
async fn dates_of_answers_correct_account_clock() {
    const HOUR: i64 = 3_600_000;
    // `Date` of each response, requests for each connect, and the correction after it.
    let check = async |dates: &[i64], expected: &[(usize, i64)]| {
        let host = Clock::system();
        let (hub, _writer) = new_hub(hub::Config::default(), host.for_account());
        let dir = tempfile::tempdir().expect("a directory");
        let bearer = dir.path().join("bearer");
        std::fs::write(&bearer, "bearer").expect("written");
        let ahead_ms = Mutex::new(dates.iter().copied().collect());
        let transport = Arc::new(Dated { host: host.clone(), ahead_ms, requests: AtomicUsize::new(0) });
        let upstream = UpstreamEndpoint {
            transport: transport.clone(),
            base_url: "http://127.0.0.1:1".parse().expect("a URL"),
            credentials: Credentials::new(SecretSource::File(bearer)),
            local_dc_only: false,
            config: upstream::Config::default(),
            metrics: upstream::Metrics::default(),
        };
        let place = ConnectionId { feed: 0, connection: 0 };
        let tracker = gap_tracker::test_util::in_memory(&hub);
        let mut session =
            ConnectionSupervisor::new(hub.clone(), upstream, place, tracker, queue(1).0, Metrics::default(), 1);
        for (number, (requests, offset_ms)) in expected.iter().enumerate() {
            let before = transport.requests.load(Ordering::Relaxed);
            session.connect().await.expect("connected");
            let made = transport.requests.load(Ordering::Relaxed) - before;
            let off = (hub.clock().offset_ms() - offset_ms).abs();
            assert_eq!(made, *requests, "{dates:?}: connect {number}");
            assert!(off < 2_000, "{dates:?}: connect {number}: off by {off} ms");
        }
        assert_eq!(host.offset_ms(), 0, "the clock of the process is not corrected");
    };
    // A host that is hours off is corrected at the first connect, and a response without `Date` reverts nothing (R2-D).
    check(&[3 * HOUR, 3 * HOUR], &[(2, 3 * HOUR), (1, 3 * HOUR), (1, 3 * HOUR)]).await;
    // One wrong response, the first or a later one.
    check(&[25 * HOUR, 0, 0], &[(2, 0), (1, 0)]).await;
    check(&[0, 25 * HOUR, 0], &[(1, 0), (2, 0), (1, 0)]).await;
    check(&[0, 20_000, 0], &[(1, 0), (2, 0), (1, 0)]).await;
    // Two consecutive ones are accepted, and reverted the same way.
    check(&[0, HOUR, HOUR, 0, 0], &[(1, 0), (2, HOUR), (2, 0)]).await;
    check(&[30_000, 30_000], &[(2, 30_000), (1, 30_000)]).await;
    // Dates that always differ do not double the requests for ever.
    check(&[0, HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR, 0, HOUR, 0], &[(1, 0), (2, 0), (1, 0), (1, 0), (1, 0), (2, 0)])
        .await;
}

/// Answers one request with data of the test.
struct Line(Mutex<Option<mpsc::Receiver<Result<Bytes, BodyError>>>>);

impl Transport for Line {
    fn connect<'a>(&'a self, _: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>> {
        let Some(receiver) = self.0.lock().take() else { return futures::future::pending().boxed() };
        let next = |mut receiver: mpsc::Receiver<_>| async { receiver.recv().await.map(|piece| (piece, receiver)) };
        let body = futures::stream::unfold(receiver, next).boxed();
        futures::future::ready(Ok(Response { status: 200, headers: Headers::default(), body })).boxed()
    }
}

/// Returns when the next arrivals were received.
async fn received(intakes: &mut mpsc::Receiver<IngestItem>) -> UnixMillis {
    loop {
        match intakes.recv().await.expect("supervisor runs") {
            IngestItem::Arrivals(batch) => return batch.arrivals.received,
            IngestItem::GapChanges | IngestItem::Disconnected(_) | IngestItem::Rules(_) | IngestItem::Flush(_) => {}
        }
    }
}

/// The thread of the reader is stalled while heartbeats arrive, and X ends the connection: data read then was sent at
/// any time since, and the gap begins there (rule 2.1).
#[tokio::test]
async fn gap_after_stop_starts_at_last_turn() {
    const STOPPED: Duration = Duration::from_secs(600);
    let (hub, _writer) = new_hub(hub::Config::default(), Clock::with_rate(1_000.0, None));
    let dir = tempfile::tempdir().expect("a directory");
    let bearer = dir.path().join("bearer");
    std::fs::write(&bearer, "bearer").expect("written");
    let (sender, receiver) = mpsc::channel(4);
    // Only the stall of this test counts, however busy the machine is.
    let config = upstream::Config { stale_after: Duration::from_secs(1_000_000), ..upstream::Config::default() };
    let upstream = UpstreamEndpoint {
        transport: Arc::new(Line(Mutex::new(Some(receiver)))),
        base_url: "http://127.0.0.1:1".parse().expect("a URL"),
        credentials: Credentials::new(SecretSource::File(bearer)),
        local_dc_only: false,
        config,
        metrics: upstream::Metrics::default(),
    };
    let (queue, mut intakes) = queue(1 << 20);
    let tracker = gap_tracker::test_util::in_memory(&hub);
    let place = ConnectionId { feed: 0, connection: 0 };
    let session =
        ConnectionSupervisor::new(hub.clone(), upstream, place, tracker.clone(), queue, Metrics::default(), 1);
    let shutdown = Shutdown::new();
    let running = tokio::spawn(session.run(shutdown.clone()));
    let heartbeat = || sender.try_send(Ok(Bytes::from_static(b"\r\n"))).expect("channel has capacity");
    heartbeat();
    received(&mut intakes).await;
    heartbeat();
    // The supervisor runs on this thread, too.
    let stopped = hub.clock().now();
    while hub.clock().now().since(stopped) < STOPPED {
        std::hint::spin_loop();
    }
    assert!(received(&mut intakes).await <= stopped, "it may have been sent right after the start of the stall");
    drop(sender);
    while !matches!(intakes.recv().await, Some(IngestItem::Disconnected(_))) {}
    let gaps = tracker.open_gaps();
    assert!(gaps.iter().any(|gap| gap.window.from <= stopped && gap.window.to.is_none()), "{stopped}: {gaps:?}");
    shutdown.cancel();
    running.await.expect("it ends");
}
