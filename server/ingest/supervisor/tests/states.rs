//! Reported state of an upstream that refuses, sends announcements, or sends malformed input.

use bytes::Bytes;

use super::*;
use crate::hub::status::upstream_status::UpstreamStatus;
use crate::model::{Gap, GapCause};

const BEARER: &str = "AAAA/bearer+x";

/// Answers every request with this status and body; the stream ends unless `stays`.
struct Scripted {
    status: u16,
    body: &'static str,
    stays: bool,
    requests: AtomicUsize,
}

impl Transport for Scripted {
    fn connect<'a>(&'a self, _: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let piece = Ok(Bytes::from_static(self.body.as_bytes()));
        let body = futures::stream::iter([piece]);
        let body = if self.stays { body.chain(futures::stream::pending()).boxed() } else { body.boxed() };
        futures::future::ready(Ok(Response { status: self.status, headers: Headers::default(), body })).boxed()
    }
}

/// Runs a supervisor for this many requests; returns every status.
async fn statuses(status: u16, body: &'static str, requests: usize) -> Vec<UpstreamStatus> {
    run(Scripted { status, body, stays: false, requests: AtomicUsize::new(0) }, |_, made| made >= requests).await
}

/// Runs a supervisor until `over`, which gets the last status and the number of requests; returns every status.
async fn run(scripted: Scripted, over: impl Fn(&UpstreamStatus, usize) -> bool) -> Vec<UpstreamStatus> {
    run_with_gaps(scripted, over).await.0
}

/// Like [`run`], with the gaps that are open at the end.
async fn run_with_gaps(
    scripted: Scripted,
    over: impl Fn(&UpstreamStatus, usize) -> bool,
) -> (Vec<UpstreamStatus>, Vec<Gap>) {
    let (hub, _writer) = new_hub(hub::Config::default(), Clock::with_rate(10_000.0, None));
    let dir = tempfile::tempdir().expect("a directory");
    let bearer = dir.path().join("bearer");
    std::fs::write(&bearer, BEARER).expect("written");
    let transport = Arc::new(scripted);
    let upstream = UpstreamEndpoint {
        transport: transport.clone(),
        base_url: "http://127.0.0.1:1".parse().expect("a URL"),
        credentials: Credentials::new(SecretSource::File(bearer)),
        local_dc_only: false,
        config: upstream::Config::default(),
        metrics: upstream::Metrics::default(),
    };
    let (queue, mut intakes) = queue(1 << 20);
    let taking = tokio::spawn(async move { while intakes.recv().await.is_some() {} });
    let place = ConnectionId { feed: 0, connection: 0 };
    let tracker = gap_tracker::test_util::in_memory(&hub);
    let mut watch = hub.upstream().watch();
    let session =
        ConnectionSupervisor::new(hub.clone(), upstream, place, tracker.clone(), queue, Metrics::default(), 1);
    let shutdown = Shutdown::new();
    let running = tokio::spawn(session.run(shutdown.clone()));
    let mut seen = Vec::new();
    loop {
        watch.changed().await.expect("hub exists");
        seen.push(watch.borrow_and_update().clone());
        if over(seen.last().expect("pushed above"), transport.requests.load(Ordering::Relaxed)) {
            break;
        }
    }
    shutdown.cancel();
    running.await.expect("it ends");
    taking.abort();
    (seen, tracker.open_gaps())
}

/// After a 200 and then a web page, for ten minutes, health was once SERVING in 41 % of samples.
#[tokio::test]
async fn malformed_input_after_200_is_not_connected() {
    let seen = statuses(200, "<html>\r\nnot a stream\r\n</html>\r\n", 6).await;
    let connected = seen.iter().filter(|status| status.state == UpstreamState::Connected).count();
    assert!(connected <= 1, "only the first response counts as connected: {seen:?}");
    assert!(seen.iter().any(|status| status.state == UpstreamState::BackingOff));
}

/// The API promises STOPPED for states that only an operator or a new period can end.
#[tokio::test]
async fn refused_credentials_and_usage_cap_stop() {
    let cap = r#"{"title":"CreditsDepleted","status":402}"#;
    for (status, body) in [(401, "{}"), (402, cap), (429, r#"{"title":"UsageCapExceeded"}"#)] {
        let seen = statuses(status, body, 3).await;
        let first = seen.iter().position(|status| status.state == UpstreamState::Stopped).expect("state is Stopped");
        let after: Vec<_> = seen[first..].iter().map(|status| status.state).collect();
        assert!(after.iter().all(|state| *state == UpstreamState::Stopped), "{status}: it does not flap: {after:?}");
    }
}

/// X's explanation is shown, without a bearer that it echoes.
#[tokio::test]
async fn words_of_upstream_are_shown_without_bearer() {
    let body = "{\"errors\":[{\"title\":\"InvalidRules\",\"detail\":\"rule 3 of \
                AAAA\\/bearer+x (AAAA%2Fbearer%2Bx) is not valid\"}]}\r\n";
    let seen = statuses(200, body, 3).await;
    let errors: Vec<_> = seen.iter().map(|status| status.last_error.as_str()).filter(|text| !text.is_empty()).collect();
    assert!(errors.iter().any(|text| text.contains("rule 3 of [secret] ([secret]) is not valid")), "{errors:?}");
    assert!(errors.iter().all(|text| !text.contains("bearer")), "{errors:?}");
}

/// X's announcement before it ends the stream is the cause of the gap, not only a text in the log.
#[tokio::test]
async fn explained_disconnects_have_own_gap_causes() {
    for (body, cause, text) in [
        (r#"{"errors":[{"disconnect_type":"InvalidRules","detail":"rule 3"}]}"#, GapCause::InvalidRules, "rules"),
        (r#"{"errors":[{"connection_issue":"TooManyConnections"}]}"#, GapCause::TooManyConnections, "too many"),
        (r#"{"title":"UsageCapExceeded","status":429}"#, GapCause::UsageCapped, "usage cap"),
        (r#"{"warning":{"message":"behind","percent_full":97}}"#, GapCause::SlowReader, "97 % full"),
        (r#"{"errors":[{"disconnect_type":"OperationalDisconnect"}]}"#, GapCause::Disconnected, "operational"),
    ] {
        let scripted = Scripted { status: 200, body, stays: false, requests: AtomicUsize::new(0) };
        let (statuses, gaps) = run_with_gaps(scripted, |status, _| !status.last_error.is_empty()).await;
        let error = &statuses.last().expect("there is one").last_error;
        assert!(error.contains(text), "{body}: {error}");
        // Three milliseconds of a busy machine are half a minute here: the late start of the log is a gap too, with an
        // end.
        let open = gaps.iter().find(|gap| gap.window.to.is_none());
        assert_eq!(open.map(|gap| gap.cause), Some(cause), "{body}: {gaps:?}");
    }
}

/// Posts that X withholds are in no gap: they are announced to subscribers.
#[tokio::test]
async fn withheld_posts_are_announced() {
    let body = "{\"limit\":{\"track\":7}}\r\n";
    let scripted = Scripted { status: 200, body, stays: true, requests: AtomicUsize::new(0) };
    let is_announced =
        |status: &UpstreamStatus| status.news.as_ref().is_some_and(|news| news.kind == UpstreamNoticeKind::Limited);
    let seen = run(scripted, |status, _| is_announced(status)).await;
    let news = seen.last().and_then(|status| status.news.as_ref()).expect("a notice exists");
    assert!(news.message.contains("7 posts"), "{news:?}");
}
