//! The consumer against a gateway that follows a script: one list of acts per Subscribe call.

mod flags;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use powerstream_consumer::proto::subscribe_response::Frame as ReceivedFrame;
use powerstream_consumer::{ConsumerError, ContractViolation, ResumeToken};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::proto::stream_service_server::{StreamService, StreamServiceServer};
use crate::proto::subscribe_response::Frame;
use crate::proto::{
    CaughtUp, Draining, Event, EventBatch, GetStreamRequest, GetStreamResponse, Heartbeat, Latest, ListStreamsRequest,
    ListStreamsResponse, ListTagsRequest, ListTagsResponse, ResolvePositionRequest, ResolvePositionResponse,
    SessionStart, SubscribeRequest, SubscribeResponse, TimeInterval, subscribe_request,
};

/// First delay of a backoff (PROTOCOL.md).
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Heartbeat interval of the scripted gateway.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Timeout of a test.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone)]
enum Act {
    Send(Box<SubscribeResponse>),
    /// Ends the stream with this status.
    End(Status),
    /// Keeps the stream open and silent.
    Hang,
}

#[derive(Clone, Default)]
struct Gateway {
    scripts: Arc<Mutex<VecDeque<Vec<Act>>>>,
    requests: Arc<Mutex<Vec<SubscribeRequest>>>,
}

#[tonic::async_trait]
impl StreamService for Gateway {
    type SubscribeStream = BoxStream<'static, Result<SubscribeResponse, Status>>;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        self.requests.lock().push(request.into_inner());
        let script = self.scripts.lock().pop_front().unwrap_or_else(|| vec![Act::Hang]);
        if let [Act::End(status)] = &script[..] {
            return Err(status.clone());
        }
        let acts = stream::iter(script).then(|act| {
            let outcome: Pin<Box<dyn Future<Output = Result<SubscribeResponse, Status>> + Send>> = match act {
                Act::Send(response) => Box::pin(std::future::ready(Ok(*response))),
                Act::End(status) => Box::pin(std::future::ready(Err(status))),
                Act::Hang => Box::pin(std::future::pending()),
            };
            outcome
        });
        Ok(Response::new(acts.boxed()))
    }

    async fn list_streams(&self, _: Request<ListStreamsRequest>) -> Result<Response<ListStreamsResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn get_stream(&self, _: Request<GetStreamRequest>) -> Result<Response<GetStreamResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn list_tags(&self, _: Request<ListTagsRequest>) -> Result<Response<ListTagsResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn resolve_position(
        &self,
        _: Request<ResolvePositionRequest>,
    ) -> Result<Response<ResolvePositionResponse>, Status> {
        Err(Status::unimplemented("not in the script"))
    }
}

impl Gateway {
    async fn start(scripts: impl IntoIterator<Item = Vec<Act>>) -> (Self, ConsumerBuilder) {
        let gateway = Self { scripts: Arc::new(Mutex::new(scripts.into_iter().collect())), ..Self::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let server = tonic::transport::Server::builder().add_service(StreamServiceServer::new(gateway.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (gateway, Consumer::builder(format!("http://{address}")).violations_max(1))
    }

    fn starts(&self) -> Vec<subscribe_request::Start> {
        self.requests.lock().iter().filter_map(|request| request.start.clone()).collect()
    }
}

fn send(token: &str, frame: Frame) -> Act {
    Act::Send(Box::new(SubscribeResponse { resume_token: token.into(), frame: Some(frame) }))
}

fn start() -> Act {
    let heartbeat_interval = prost_types::Duration::try_from(HEARTBEAT).ok();
    send("t0", Frame::SessionStart(SessionStart { heartbeat_interval, ..SessionStart::default() }))
}

fn batch(token: &str, sequences: &[u64], delivered_total: u64) -> Act {
    let event = |&sequence| Event { sequence, json: format!("{{\"n\":{sequence}}}"), ..Event::default() };
    let events = sequences.iter().map(event).collect();
    send(token, Frame::EventBatch(EventBatch { events, delivered_total, ..EventBatch::default() }))
}

fn end(code: Code, reason: &str, after: Option<Duration>) -> Act {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, "powerstream.gateway", HashMap::new());
    if after.is_some() {
        details.set_retry_info(after);
    }
    Act::End(Status::with_error_details(code, "as scripted", details))
}

fn cut() -> Act {
    Act::End(Status::unavailable("connection reset"))
}

fn latest() -> subscribe_request::Start {
    subscribe_request::Start::Latest(Latest {})
}

fn token(text: &str) -> subscribe_request::Start {
    subscribe_request::Start::ResumeToken(text.into())
}

async fn next(consumer: &mut Consumer) -> Result<Delivery, ConsumerError> {
    tokio::time::timeout(LIMIT, consumer.next()).await.expect("something happens")
}

/// Reads until that many events have arrived. Returns their sequences and the delays between sessions.
async fn read(consumer: &mut Consumer, count: usize) -> (Vec<u64>, Vec<Duration>) {
    let (mut sequences, mut waits) = (Vec::new(), Vec::new());
    while sequences.len() < count {
        match next(consumer).await.expect("no end").content {
            Content::Events(batch) => sequences.extend(batch.events.iter().map(|event| event.sequence)),
            Content::Disconnected(end) => waits.push(end.retry_in),
            _ => {}
        }
    }
    (sequences, waits)
}

#[tokio::test]
async fn reconnects_with_last_token_after_disconnect() {
    let (gateway, builder) = Gateway::start([
        vec![cut()],
        vec![start(), batch("t1", &[1, 2], 2), batch("t2", &[3], 3), cut()],
        vec![start(), send("", Frame::CaughtUp(CaughtUp::default())), batch("t5", &[5], 1)],
    ])
    .await;
    let mut consumer = builder.build().expect("an address");
    let (sequences, waits) = read(&mut consumer, 4).await;
    assert_eq!(sequences, [1, 2, 3, 5]);
    assert_eq!(waits.len(), 2);
    assert_eq!(gateway.starts(), [latest(), latest(), token("t2")]);
    assert_eq!(consumer.token().map(ResumeToken::as_str), Some("t5"));
}

#[tokio::test]
async fn backoff_grows_and_is_reset_by_frame() {
    let (_gateway, builder) = Gateway::start([
        vec![cut()],
        vec![cut()],
        vec![cut()],
        vec![start(), batch("t1", &[1], 1), cut()],
        vec![start(), batch("t2", &[2], 1)],
    ])
    .await;
    let mut consumer = builder.build().expect("an address");
    let (_, waits) = read(&mut consumer, 2).await;
    for (wait, factor) in waits.iter().zip([1, 2, 4, 1]) {
        assert!((BACKOFF_MIN * factor..=BACKOFF_MIN * factor * 3 / 2).contains(wait), "{waits:?}");
    }
    assert_eq!(waits.len(), 4);
}

#[tokio::test]
async fn retry_delay_of_gateway_is_waited() {
    let (requested, announced) = (Duration::from_millis(1_200), Duration::from_millis(900));
    let draining = Draining { reconnect_after: prost_types::Duration::try_from(announced).ok(), ..Draining::default() };
    let (gateway, builder) = Gateway::start([
        vec![start(), end(Code::Unavailable, "DRAINING", Some(requested))],
        vec![start(), send("t1", Frame::Draining(draining))],
        vec![start(), batch("t2", &[2], 1)],
    ])
    .await;
    let mut consumer = builder.build().expect("an address");
    let begun = Instant::now();
    let (_, waits) = read(&mut consumer, 1).await;
    assert_eq!(waits, [requested, announced]);
    assert!(begun.elapsed() >= requested + announced, "the delays were waited and not only reported");
    assert_eq!(gateway.starts()[1..], [token("t0"), token("t1")]);
}

#[tokio::test]
async fn silent_session_is_left_after_three_heartbeats() {
    let (gateway, builder) =
        Gateway::start([vec![start(), batch("t1", &[1], 1), Act::Hang], vec![start(), batch("t2", &[2], 1)]]).await;
    let mut consumer = builder.build().expect("an address");
    read(&mut consumer, 1).await;
    let begun = Instant::now();
    let cause = loop {
        // Dropped and called again all the time, as a `select!` does: the watchdog must not start over.
        match tokio::time::timeout(HEARTBEAT / 20, consumer.next()).await {
            Ok(Ok(Delivery { content: Content::Disconnected(end), .. })) => break end.cause,
            Ok(other) => panic!("{other:?}"),
            Err(_) => assert!(begun.elapsed() < LIMIT, "never left"),
        }
    };
    assert_eq!(cause, "no frame for 3 s");
    assert!(begun.elapsed() >= HEARTBEAT * 3 - HEARTBEAT / 20, "the watchdog waits for three heartbeats");
    assert_eq!(read(&mut consumer, 1).await.0, [2]);
    assert_eq!(gateway.starts()[1..], [token("t1")]);
}

#[tokio::test]
async fn event_count_mismatch_ends_consumer_with_valid_token() {
    let (_gateway, builder) =
        Gateway::start([vec![start(), batch("t1", &[1], 1), batch("t3", &[3], 3), Act::Hang]]).await;
    let mut consumer = builder.build().expect("an address");
    read(&mut consumer, 1).await;
    let end = next(&mut consumer).await.expect_err("one event is missing");
    assert_eq!(end, ConsumerError::Violated(ContractViolation::Miscounted { reported: 3, counted: 2 }));
    assert_eq!(exit_of(&end), Exit::ContractViolated);
    assert_eq!(consumer.token().map(ResumeToken::as_str), Some("t1"));
}

#[tokio::test]
async fn heartbeat_that_counts_otherwise_ends_it_too() {
    let heartbeat = Heartbeat { delivered_total: 2, ..Heartbeat::default() };
    let (_gateway, builder) =
        Gateway::start([vec![start(), batch("t1", &[1], 1), send("t2", Frame::Heartbeat(heartbeat))]]).await;
    let mut consumer = builder.build().expect("an address");
    read(&mut consumer, 1).await;
    assert!(matches!(next(&mut consumer).await, Err(ConsumerError::Violated(_))));
}

#[tokio::test]
async fn position_too_old_ends_or_clamps_by_policy() {
    let clamped = SessionStart { missing: vec![TimeInterval::default()], ..SessionStart::default() };
    let clamped = send("t9", Frame::SessionStart(clamped));
    let too_old = end(Code::OutOfRange, "POSITION_TOO_OLD", None);
    for (policy, script) in
        [(ResumePolicy::Fail, too_old), (ResumePolicy::Earliest, clamped.clone()), (ResumePolicy::Latest, clamped)]
    {
        let (gateway, builder) = Gateway::start([vec![script]]).await;
        let mut consumer = builder.resume_policy(policy).resume_from("old".into()).build().expect("an address");
        match (policy, next(&mut consumer).await) {
            (ResumePolicy::Fail, Err(end)) => {
                assert_eq!(exit_of(&end), Exit::Position);
                assert!(describe(&end).contains("--resume-policy"), "{end}");
                assert_eq!(consumer.token().map(ResumeToken::as_str), Some("old"));
            }
            (_, Ok(Delivery { content: Content::Notice(ReceivedFrame::SessionStart(start)), .. })) => {
                assert_eq!(start.missing.len(), 1);
                let missing = next(&mut consumer).await.expect("it follows");
                assert!(matches!(missing.content, Content::Missing(_)) && missing.is_loss());
                assert_eq!(consumer.token().map(ResumeToken::as_str), Some("t9"));
            }
            other => panic!("{other:?}"),
        }
        let requests = gateway.requests.lock();
        assert_eq!((requests.len(), requests[0].resume_policy), (1, policy.into()));
    }
}

#[tokio::test]
async fn fatal_status_is_not_retried() {
    for (code, reason, exit) in [
        (Code::InvalidArgument, "FILTER_INVALID", Exit::Usage),
        (Code::PermissionDenied, "ACCESS_DENIED", Exit::Refused),
        (Code::FailedPrecondition, "TOKEN_ACCOUNT_MISMATCH", Exit::Position),
        (Code::InvalidArgument, "TOKEN_INVALID", Exit::Position),
    ] {
        let (gateway, builder) = Gateway::start([vec![end(code, reason, None)]]).await;
        let mut consumer = builder.build().expect("an address");
        let end = next(&mut consumer).await.expect_err("no way");
        assert_eq!(exit_of(&end), exit, "{reason}");
        assert_eq!(gateway.starts().len(), 1);
    }
}

#[tokio::test]
async fn refused_connection_is_retried() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let mut consumer = Consumer::builder(format!("http://{free}")).build().expect("an address");
    for _ in 0..3 {
        assert!(matches!(next(&mut consumer).await, Ok(Delivery { content: Content::Disconnected(_), .. })));
    }
}

/// Where `drive` prints to in tests.
#[derive(Clone, Default)]
struct Sink {
    bytes: Arc<Mutex<Vec<u8>>>,
    closed: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.closed {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        self.bytes.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs the command's loop on this script; gives its exit, what it printed and what the token file then holds.
async fn run_to_end(
    script: Vec<Act>,
    count: Option<u64>,
    closed: bool,
    stop: Option<&Sink>,
) -> (Exit, String, Option<String>) {
    let (_gateway, builder) = Gateway::start([script]).await;
    let slow = Clock::with_rate(0.001, None);
    let (dir, tasks) = (tempfile::tempdir().expect("a directory"), TaskGroup::new());
    let path = dir.path().join("token");
    let file = CursorFile::open(&path).expect("opened").with_sync_interval(SYNC_INTERVAL);
    let consumer = builder.cursor_file(file).build().expect("an address");
    let sink = stop.cloned().unwrap_or(Sink { closed, ..Sink::default() });
    let output = Output::start(&tasks, sink.clone());
    let printer = Printer { format: EventFormat::Payload, left: count, quiet: false, status: Vec::new() };
    let printed = async {
        while stop.is_none() || sink.bytes.lock().is_empty() {
            if stop.is_none() {
                std::future::pending::<()>().await;
            }
            tokio::task::yield_now().await;
        }
        tasks.shutdown().cancel();
    };
    // A stop waits for long by this one: what is kept must not depend on how busy the disk is.
    let driven = drive(consumer, printer, &output, tasks.shutdown(), &slow);
    let exit = tokio::time::timeout(LIMIT, async {
        tokio::pin!(driven);
        tokio::select! {
            exit = &mut driven => exit,
            () = printed => driven.await,
        }
    });
    let exit = exit.await.expect("it ends").expect("no failure");
    (exit, String::from_utf8(sink.bytes.lock().clone()).expect("text"), std::fs::read_to_string(&path).ok())
}

#[tokio::test]
async fn count_limit_ends_with_token_of_last_output() {
    let script = vec![start(), batch("t1", &[1], 1), batch("t2", &[2], 2), batch("t4", &[3, 4], 4), Act::Hang];
    let outcome = run_to_end(script.clone(), Some(2), false, None).await;
    assert_eq!(outcome, (Exit::Done, "{\"n\":1}\n{\"n\":2}\n".into(), Some("t2\n".into())));
    // A token covers a whole frame: that of a frame which is printed in part is not kept.
    let outcome = run_to_end(script, Some(3), false, None).await;
    assert_eq!(outcome, (Exit::Done, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n".into(), Some("t2\n".into())));
}

#[tokio::test]
async fn closed_output_ends_quietly_without_token() {
    let outcome = run_to_end(vec![batch("t1", &[1], 1)], None, true, None).await;
    assert_eq!(outcome.0, Exit::ContractViolated, "the script must begin with a start");
    let outcome = run_to_end(vec![start(), batch("t1", &[1], 1), Act::Hang], None, true, None).await;
    assert_eq!((outcome.0, outcome.1.as_str()), (Exit::Done, ""));
    assert_ne!(outcome.2.as_deref(), Some("t1\n"));
}

#[tokio::test]
async fn stop_stores_token_and_succeeds() {
    let script = vec![start(), batch("t1", &[1], 1), Act::Hang];
    let outcome = run_to_end(script, None, false, Some(&Sink::default())).await;
    assert_eq!(outcome, (Exit::Done, "{\"n\":1}\n".into(), Some("t1\n".into())));
}
