use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};

use super::*;
use crate::hub;
use crate::hub::fixtures::new_hub;
use crate::ingest::{ledger, queue};
use crate::secret::Source;
use crate::xapi::{Error, Headers, Response};

/// Answers every request with a stream on which nothing comes.
#[derive(Default)]
struct Silent(AtomicUsize);

impl Transport for Silent {
    fn connect<'a>(&'a self, _: &'a StreamRequest) -> BoxFuture<'a, Result<Response, Error>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let body = futures::stream::pending().boxed();
        futures::future::ready(Ok(Response { status: 200, headers: Headers::default(), body })).boxed()
    }
}

async fn until(hub: &Hub, state: State) {
    let mut status = hub.upstream().watch();
    let reached = hub.clock().timeout(Duration::from_secs(20), status.wait_for(|status| status.state == state));
    reached.await.expect("in time").expect("the hub lives");
}

#[tokio::test]
async fn a_connection_closed_for_the_journal_is_made_again_when_it_can_be_written() {
    let (hub, _writer) = new_hub(hub::Config::default(), Clock::system());
    let dir = tempfile::tempdir().expect("a directory");
    let bearer = dir.path().join("bearer");
    std::fs::write(&bearer, "bearer").expect("written");
    let transport = Arc::new(Silent::default());
    let upstream = Upstream {
        transport: transport.clone(),
        base_url: "http://127.0.0.1:1".parse().expect("a URL"),
        credentials: Credentials::new(Source::File(bearer)),
        local_dc_only: false,
        config: upstream::Config::default(),
        metrics: upstream::Metrics::default(),
    };
    let (queue, _intakes) = queue(1);
    let place = Place { feed: 0, connection: 0 };
    let ledger = ledger::fixtures::in_memory(&hub);
    let session = Session::new(hub.clone(), upstream, place, ledger, queue, Metrics::default(), 1);
    let shutdown = Shutdown::new();
    let running = tokio::spawn(session.run(shutdown.clone()));
    until(&hub, State::Connected).await;
    hub.upstream().update(|status| status.journal_unavailable = true);
    until(&hub, State::BackingOff).await;
    assert_eq!(transport.0.load(Ordering::Relaxed), 1, "not while it cannot");
    hub.upstream().update(|status| status.journal_unavailable = false);
    until(&hub, State::Connected).await;
    assert_eq!(transport.0.load(Ordering::Relaxed), 2);
    shutdown.cancel();
    running.await.expect("it ends");
    assert_eq!(hub.upstream().status().state, State::Stopped);
}
