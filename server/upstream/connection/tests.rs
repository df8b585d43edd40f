use futures::future::BoxFuture;
use futures::stream;
use tokio::sync::mpsc;

use super::*;
use crate::model::UnixMillis;
use crate::secret::Secret;
use crate::xapi::{BodyErrorKind, Headers, ProblemKind};

mod unfinished;

type Piece = Result<Bytes, BodyError>;
/// More pieces than any test sends before it reads.
const PIECES_MAX: usize = 1_024;

/// Returns one response with a body sent by the test.
struct Scripted(parking_lot::Mutex<Option<Result<Response, TransportError>>>);

impl Transport for Scripted {
    fn connect<'a>(&'a self, _: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>> {
        match self.0.lock().take() {
            Some(response) => futures::future::ready(response).boxed(),
            None => futures::future::pending().boxed(),
        }
    }
}

fn request() -> StreamRequest {
    StreamRequest {
        base_url: "https://api.x.com".parse().expect("a URL"),
        bearer: Secret::new("bearer-of-test".to_owned()),
        local_dc_only: false,
        backfill_minutes: None,
        window: None,
    }
}

fn body(receiver: mpsc::Receiver<Piece>) -> BoxStream<'static, Piece> {
    stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|piece| (piece, receiver)) }).boxed()
}

async fn attempt(
    response: Option<Result<Response, TransportError>>,
    clock: &Clock,
) -> (Result<Connection, DisconnectCause>, Metrics) {
    let transport = Scripted(parking_lot::Mutex::new(response));
    let metrics = Metrics::default();
    let config = Config { batch_bytes_max: 100, ..Config::default() };
    (connect(&transport, &request(), &config, clock, &metrics).await, metrics)
}

async fn connected(clock: &Clock) -> (Connection, mpsc::Sender<Piece>) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let response = Response { status: 200, headers: Headers::default(), body: body(receiver) };
    let (connection, metrics) = attempt(Some(Ok(response)), clock).await;
    assert_eq!(metrics.connects.get_or_create(&ConnectOutcomeLabel { outcome: "ok" }).get(), 1);
    (connection.unwrap_or_else(|cause| panic!("{cause}")), sender)
}

fn send(sender: &mpsc::Sender<Piece>, text: &str) {
    sender.try_send(Ok(Bytes::copy_from_slice(text.as_bytes()))).expect("reader with capacity");
}

async fn arrivals(connection: &mut Connection) -> MessageBatch {
    match connection.next().await {
        ConnectionEvent::Arrivals(arrivals) => arrivals,
        ConnectionEvent::End(end) => panic!("{end:?}"),
    }
}

/// Reads to the end.
async fn end(connection: &mut Connection) -> ConnectionEnd {
    loop {
        if let ConnectionEvent::End(end) = connection.next().await {
            return end;
        }
    }
}

/// A clock on the time of a runtime that is paused: it passes when nothing else is left to do.
fn virtual_clock() -> Clock {
    Clock::of_runtime(UnixMillis(1_700_000_000_000))
}

/// The process stands still for so long.
async fn stand_still(time: Duration) {
    tokio::time::advance(time).await;
}

#[tokio::test]
async fn all_that_is_ready_is_taken_at_once() {
    let (mut connection, sender) = connected(&Clock::system()).await;
    for text in ["{\"id\":1}\r\n{\"i", "d\":2}\r\n", "\r\n", "{\"id\":3"] {
        send(&sender, text);
    }
    let got = arrivals(&mut connection).await;
    assert_eq!((got.messages.len(), got.heartbeats, got.bytes), (2, 1, 29));
    send(&sender, "}");
    assert_eq!(arrivals(&mut connection).await.messages.len(), 1);
}

#[tokio::test]
async fn batch_is_bounded_without_loss() {
    let (mut connection, sender) = connected(&Clock::system()).await;
    let post = format!("{{\"id\":1,\"text\":\"{}\"}}\r\n", "x".repeat(50));
    send(&sender, &post.repeat(7));
    send(&sender, "{\"id\":8}");
    drop(sender);
    let mut counts = Vec::new();
    while let ConnectionEvent::Arrivals(got) = connection.next().await {
        counts.push(got.messages.len());
    }
    assert_eq!(counts, [2, 2, 2, 2]);
    assert_eq!(end(&mut connection).await.cause, DisconnectCause::CleanEof);
}

/// A message that waits for its batch was read before that batch begins.
#[tokio::test]
async fn messages_keep_moment_of_their_read() {
    let clock = Clock::system();
    let (mut connection, sender) = connected(&clock).await;
    let post = format!("{{\"id\":1,\"text\":\"{}\"}}\r\n", "x".repeat(50));
    send(&sender, &post.repeat(4));
    let first = arrivals(&mut connection).await;
    let read = clock.moment();
    let second = arrivals(&mut connection).await;
    assert_eq!((first.messages.len(), second.messages.len()), (2, 2));
    assert!(first.read_at <= second.read_at && second.read_at <= read, "one piece, read once");
    send(&sender, &post);
    assert!(arrivals(&mut connection).await.read_at >= read);
}

#[tokio::test(start_paused = true)]
async fn silent_connection_is_stale() {
    let clock = virtual_clock();
    let (mut connection, _sender) = connected(&clock).await;
    let began = clock.moment();
    let ended = end(&mut connection).await;
    let (waited, stale) = (clock.moment().since(began), Config::default().stale_after);
    assert!((stale..=stale + 2 * DRAIN_PAUSE).contains(&waited), "{waited:?}");
    assert_eq!((ended.cause, ended.healthy_for), (DisconnectCause::Stale, Duration::ZERO));
    assert_eq!(connection.metrics.ends.get_or_create(&DisconnectCauseLabel { cause: "stale" }).get(), 1);
}

/// A heartbeat comes every 20.0 to 21.5 s, and one is missing now and then: a day of them is no silence.
#[tokio::test(start_paused = true)]
async fn late_heartbeats_keep_connection() {
    let clock = virtual_clock();
    let (mut connection, sender) = connected(&clock).await;
    let (began, limit) = (clock.moment(), Config::default().stale_after);
    for interval in (0..).map(|n| if n % 100 == 99 { limit - DRAIN_PAUSE } else { millis(20_000 + n * 37 % 1_501) }) {
        if clock.moment().since(began) > Duration::from_secs(24 * 3_600) {
            break;
        }
        clock.sleep(interval).await;
        send(&sender, "\r\n");
        assert_eq!(arrivals(&mut connection).await.heartbeats, 1);
    }
    assert_eq!(end(&mut connection).await.cause, DisconnectCause::Stale, "none comes any more");
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// After SIGSTOP the timer was checked before the socket, and 20 posts in the socket were dropped.
#[tokio::test(start_paused = true)]
async fn posts_in_socket_are_read_before_silence_counts() {
    let clock = virtual_clock();
    let (mut connection, sender) = connected(&clock).await;
    send(&sender, "{\"id\":1}\r\n");
    assert_eq!(arrivals(&mut connection).await.messages.len(), 1);
    // The reader waits; then the process is suspended for longer than `stale_after`.
    assert!(futures::poll!(std::pin::pin!(connection.next())).is_pending());
    stand_still(Duration::from_secs(60)).await;
    let late = tokio::spawn(async move {
        tokio::task::yield_now().await;
        send(&sender, &"{\"id\":2}\r\n".repeat(3));
        sender
    });
    assert_eq!(arrivals(&mut connection).await.messages.len(), 3);
    let _open = late.await.expect("sender task ends");
    assert_eq!(end(&mut connection).await.cause, DisconnectCause::Stale, "a second silence ends the connection");
}

#[tokio::test(start_paused = true)]
async fn dribbling_connection_is_stale() {
    for piece in ["x", "garbage\r\n"] {
        let clock = virtual_clock();
        let (mut connection, sender) = connected(&clock).await;
        send(&sender, "{\"id\":1}\r\n{\"text\":\"");
        if piece != "x" {
            send(&sender, "cut\r\n");
        }
        let dribble = async {
            loop {
                send(&sender, piece);
                clock.sleep(Duration::from_secs(5)).await;
            }
        };
        let ended = tokio::select! {
            ended = end(&mut connection) => ended,
            () = dribble => unreachable!("the sender never ends"),
        };
        assert_eq!(ended.cause, DisconnectCause::Stale);
    }
}

#[tokio::test]
async fn garbage_flood_is_stale() {
    for piece in [b"garbage\r\n".as_slice(), b"x"] {
        let pieces = stream::repeat_with(|| Ok(Bytes::from_static(piece)));
        let response = Response { status: 200, headers: Headers::default(), body: pieces.boxed() };
        // Such a stream leaves no pause in which virtual time could pass.
        let clock = Clock::with_rate(1_000.0, None);
        let connection = &mut attempt(Some(Ok(response)), &clock).await.0.expect("connected");
        assert_eq!(end(connection).await.cause, DisconnectCause::Stale);
    }
}

/// The drain of a silent connection holds a message that is not complete yet.
#[tokio::test(start_paused = true)]
async fn dropped_read_while_draining_loses_nothing() {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let response = Response { status: 200, headers: Headers::default(), body: body(receiver) };
    let transport = Scripted(parking_lot::Mutex::new(Some(Ok(response))));
    let (config, clock) = (Config { stale_after: DRAIN_PAUSE, ..Config::default() }, virtual_clock());
    let connection = connect(&transport, &request(), &config, &clock, &Metrics::default()).await;
    let mut connection = connection.unwrap_or_else(|cause| panic!("{cause}"));
    stand_still(DRAIN_PAUSE).await;
    {
        let mut draining = std::pin::pin!(connection.next());
        assert!(futures::poll!(&mut draining).is_pending());
        send(&sender, "{\"id\"");
        assert!(futures::poll!(&mut draining).is_pending());
    }
    assert!(connection.gathered.is_some(), "the call was dropped with a piece of a message");
    send(&sender, ":1}");
    let got = arrivals(&mut connection).await;
    assert_eq!((got.messages.len(), got.bytes), (1, 8));
}

#[tokio::test]
async fn announced_cause_becomes_disconnect_cause() {
    let cut = || Err(BodyError { kind: BodyErrorKind::Cut, detail: "reset".to_owned() });
    let check = async |text: &str, last: Option<Piece>, expected: DisconnectCause| {
        let (mut connection, sender) = connected(&Clock::system()).await;
        send(&sender, text);
        if let Some(last) = last {
            sender.try_send(last).expect("reader with capacity");
        }
        drop(sender);
        let ended = end(&mut connection).await;
        assert_eq!(ended.cause, expected, "{text}");
    };
    check("{\"id\":1}\r\n", None, DisconnectCause::CleanEof).await;
    let broken = BodyError { kind: BodyErrorKind::Cut, detail: "reset".to_owned() };
    check("{\"id\":1}\r\n", Some(cut()), DisconnectCause::Cut(broken)).await;
    let operational = "{\"errors\":[{\"disconnect_type\":\"OperationalDisconnect\"}]}\r\n";
    check(operational, Some(cut()), DisconnectCause::Operational).await;
    check(
        "{\"error\":{\"message\":\"maximum allowed connection limit\"}}\n",
        None,
        DisconnectCause::TooManyConnections,
    )
    .await;
    check("Your client was unable to keep up with us", None, DisconnectCause::SlowReader).await;
    check("{\"error\":{\"message\":\"something\"}}\n", None, DisconnectCause::CleanEof).await;
}

#[tokio::test]
async fn message_that_is_cut_off_is_counted() {
    let (mut connection, sender) = connected(&Clock::system()).await;
    send(&sender, "{\"id\":1}\r\n{\"id\":");
    drop(sender);
    let ended = end(&mut connection).await;
    assert_eq!(ended.partial_bytes, 6);
    assert!(matches!(connection.next().await, ConnectionEvent::End(again) if again == ended));
}

#[tokio::test]
async fn connection_reports_endpoint_and_clock_offset() {
    let clock = Clock::system();
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let headers = Headers {
        date: Some(clock.now().minus(Duration::from_secs(7_200))),
        local_dc_only: Some(true),
        transaction_id: Some("t".to_owned()),
        ..Headers::default()
    };
    let response = Response { status: 200, headers, body: body(receiver) };
    let (connection, _) = attempt(Some(Ok(response)), &clock).await;
    let mut connection = connection.unwrap_or_else(|cause| panic!("{cause}"));
    let skew = connection.info().skew_ms.expect("a skew");
    assert!((-7_260_000..=-7_200_000).contains(&skew), "{skew}");
    assert_eq!(connection.info().datacenter, None);
    send(&sender, "{\"type\":\"connection_metadata\",\"datacenter\":\"atla\"}\r\n");
    arrivals(&mut connection).await;
    assert_eq!(connection.info().datacenter.as_deref(), Some("atla"));
}

#[tokio::test(start_paused = true)]
async fn non_stream_response_is_rejected_with_problem() {
    let html = stream::iter([Ok(Bytes::from_static(b"<html><title>Over capacity</title>"))]).boxed();
    let response = Response { status: 503, headers: Headers::default(), body: html };
    let (refused, metrics) = attempt(Some(Ok(response)), &Clock::system()).await;
    let Err(DisconnectCause::Refused(problem)) = refused else { panic!("refused") };
    assert_eq!((&problem.kind, &*problem.detail), (&ProblemKind::Server, "Over capacity"));
    assert_eq!(metrics.connects.get_or_create(&ConnectOutcomeLabel { outcome: "server" }).get(), 1);
    let endless = Response { status: 429, headers: Headers::default(), body: stream::pending().boxed() };
    let (refused, _) = attempt(Some(Ok(endless)), &virtual_clock()).await;
    assert!(matches!(refused, Err(DisconnectCause::Refused(problem)) if problem.status == 429));
}

#[tokio::test(start_paused = true)]
async fn server_that_never_answers_is_given_up() {
    let (failed, _) = attempt(None, &virtual_clock()).await;
    assert!(matches!(failed, Err(DisconnectCause::ConnectFailed(error)) if error.kind == ErrorKind::Timeout));
}

/// An announced slow-reader disconnect stays the cause, whether it was sent first or as the second element of a list
/// (R2-A, R2-B, rule 1.9).
#[tokio::test]
async fn slow_reader_announced_first_stays_cause() {
    let slow =
        r#"{"errors":[{"title":"x","detail":"y"},{"title":"operational-disconnect","disconnect_type":"SlowReader"}]}"#;
    let full = r#"{"warning":{"code":"FALLING_BEHIND","message":"full","percent_full":91}}"#;
    for first in [slow, full] {
        for second in [
            r#"{"error":{"message":"Internal error, please reconnect"}}"#,
            r#"{"errors":[{"title":"operational-disconnect","disconnect_type":"UpstreamOperationalDisconnect"}]}"#,
            "",
        ] {
            let (mut connection, sender) = connected(&Clock::system()).await;
            send(&sender, &format!("{first}\r\n{second}\r\n"));
            drop(sender);
            assert_eq!(end(&mut connection).await.cause, DisconnectCause::SlowReader, "{first} {second}");
        }
    }
}
