use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::*;
use crate::builder::ConsumerBuilder;
use crate::proto::subscribe_request::Start;
use crate::proto::{EventBatch, SessionStart, SubscribeRequest, SubscribeResponse};

/// A gateway with a script for each session, which stays open after it.
#[derive(Clone, Default)]
struct ScriptedGateway {
    scripts: Arc<Mutex<VecDeque<Vec<SubscribeResponse>>>>,
    /// Token of each request.
    tokens: Arc<Mutex<Vec<Option<String>>>>,
}

impl ScriptedGateway {
    async fn start(scripts: impl IntoIterator<Item = Vec<SubscribeResponse>>) -> (Self, ConsumerBuilder) {
        let gateway = Self { scripts: Arc::new(Mutex::new(scripts.into_iter().collect())), ..Self::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = Server::builder().add_service(gateway.clone());
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (gateway, Consumer::builder(format!("http://{address}")))
    }

    fn tokens(&self) -> Vec<Option<String>> {
        self.tokens.lock().expect("no panic").clone()
    }
}

impl NamedService for ScriptedGateway {
    const NAME: &'static str = "powerstream.gateway.v1.StreamService";
}

impl Service<http::Request<Body>> for ScriptedGateway {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let gateway = self.clone();
        Box::pin(async { Ok(Grpc::new(ProstCodec::default()).server_streaming(gateway, request).await) })
    }
}

impl ServerStreamingService<SubscribeRequest> for ScriptedGateway {
    type Response = SubscribeResponse;
    type ResponseStream = BoxStream<'static, Result<SubscribeResponse, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<SubscribeRequest>) -> Self::Future {
        let token = match request.into_inner().start {
            Some(Start::ResumeToken(token)) => Some(token),
            _ => None,
        };
        self.tokens.lock().expect("no panic").push(token);
        let script = self.scripts.lock().expect("no panic").pop_front().unwrap_or_default();
        ready(Ok(Response::new(stream::iter(script).map(Ok).chain(stream::pending()).boxed())))
    }
}

fn frame(token: &str, frame: Frame) -> SubscribeResponse {
    SubscribeResponse { resume_token: token.into(), frame: Some(frame) }
}

fn start(token: &str) -> SubscribeResponse {
    frame(token, Frame::SessionStart(SessionStart::default()))
}

fn batch(token: &str, delivered_total: u64, ids: &[u64]) -> SubscribeResponse {
    let events = ids.iter().map(|&id| Event { post_id: id, sequence: id, ..Event::default() }).collect();
    frame(token, Frame::EventBatch(EventBatch { events, delivered_total, ..EventBatch::default() }))
}

/// Decides by the token of a delivery.
type Fail = Box<dyn FnMut(&Delivery) -> Result<(), HandlerError> + Send>;

/// A database with transactions, and a handler that fails where `fail` does. It stops the run once it has stored `last`.
struct Store {
    fail: Fail,
    last: &'static str,
    stop: watch::Sender<bool>,
    has_dead_letters: bool,
    token: Option<ResumeToken>,
    ids: Vec<u64>,
    dead: Vec<(u64, String)>,
    failures: Vec<(u32, bool)>,
}

impl Store {
    fn new(last: &'static str, fail: impl FnMut(&Delivery) -> Result<(), HandlerError> + Send + 'static) -> Self {
        Self {
            fail: Box::new(fail),
            last,
            stop: watch::Sender::new(false),
            has_dead_letters: true,
            token: None,
            ids: Vec::new(),
            dead: Vec::new(),
            failures: Vec::new(),
        }
    }

    async fn run(&mut self, builder: ConsumerBuilder) -> Result<(), RunError> {
        let mut stopped = self.stop.subscribe();
        let stop = async move { stopped.wait_for(|stopped| *stopped).await.map(drop).unwrap_or_default() };
        // Boxed: it can be spawned, as a service would do.
        let run: BoxFuture<'_, _> = Box::pin(builder.build().expect("valid options").run(self, stop));
        tokio::time::timeout(Duration::from_mins(1), run).await.expect("it ends")
    }
}

impl Handler for Store {
    async fn load(&mut self) -> Result<Option<ResumeToken>, HandlerError> {
        Ok(self.token.clone())
    }

    async fn handle(&mut self, delivery: &Delivery) -> Result<(), HandlerError> {
        (self.fail)(delivery)?;
        if let Content::Events(batch) = &delivery.content {
            self.ids.extend(batch.events.iter().map(|event| event.post_id));
        }
        if let Some(token) = &delivery.token {
            self.token = Some(token.clone());
            self.stop.send_if_modified(|stopped| {
                *stopped = token.as_str() == self.last;
                *stopped
            });
        }
        Ok(())
    }

    fn failed(&mut self, failure: &Failure<'_>) {
        self.failures.push((failure.failures, failure.delivery.is_some()));
    }

    async fn dead_letter(&mut self, event: &Event, cause: Cause) -> Result<(), HandlerError> {
        if !self.has_dead_letters {
            return Err(HandlerError::Permanent(cause));
        }
        self.dead.push((event.post_id, cause.to_string()));
        Ok(())
    }
}

fn has_token(delivery: &Delivery, token: &str) -> bool {
    delivery.token.as_ref().is_some_and(|own| own.as_str() == token)
}

/// Fails the first `count` times that the batch with this token arrives.
fn fail_at(token: &'static str, count: u32) -> impl FnMut(&Delivery) -> Result<(), HandlerError> {
    let mut left = count;
    move |delivery| {
        if !has_token(delivery, token) || left == 0 {
            return Ok(());
        }
        left -= 1;
        Err(HandlerError::transient("database is locked"))
    }
}

#[tokio::test]
async fn failed_delivery_is_repeated_after_stored_token() {
    let repeated = || vec![start("t1"), batch("t2", 1, &[3])];
    let first = vec![start("t0"), batch("t1", 2, &[1, 2]), batch("t2", 3, &[3])];
    let (gateway, builder) = ScriptedGateway::start([first, repeated(), repeated()]).await;
    let mut store = Store::new("t2", fail_at("t2", 2));
    store.run(builder).await.expect("stopped");
    assert_eq!(gateway.tokens(), [None, Some("t1".into()), Some("t1".into())]);
    assert_eq!(store.ids, [1, 2, 3]);
    assert_eq!(store.failures, [(1, true), (2, true)]);
}

/// The transaction was committed, although its commit reported an error.
#[tokio::test]
async fn committed_transaction_is_not_repeated() {
    /// Stores, and reports an error once.
    struct Uncertain(Store, bool);
    impl Handler for Uncertain {
        async fn load(&mut self) -> Result<Option<ResumeToken>, HandlerError> {
            self.0.load().await
        }
        async fn handle(&mut self, delivery: &Delivery) -> Result<(), HandlerError> {
            self.0.handle(delivery).await?;
            let fails = has_token(delivery, "t1") && !std::mem::replace(&mut self.1, true);
            if fails { Err(HandlerError::transient("connection lost")) } else { Ok(()) }
        }
    }
    let first = vec![start("t0"), batch("t1", 1, &[1])];
    let (gateway, builder) = ScriptedGateway::start([first, vec![start("t1"), batch("t2", 1, &[2])]]).await;
    let mut handler = Uncertain(Store::new("t2", |_| Ok(())), false);
    let mut stopped = handler.0.stop.subscribe();
    let stop = async move { stopped.wait_for(|stopped| *stopped).await.map(drop).unwrap_or_default() };
    let consumer = builder.build().expect("valid options");
    tokio::time::timeout(Duration::from_mins(1), consumer.run(&mut handler, stop))
        .await
        .expect("ends")
        .expect("stopped");
    assert_eq!(gateway.tokens(), [None, Some("t1".into())]);
    assert_eq!(handler.0.ids, [1, 2]);
}

#[tokio::test]
async fn poison_event_becomes_dead_letter() {
    let (gateway, builder) = ScriptedGateway::start([vec![start("t0"), batch("t1", 3, &[1, 2, 3])]]).await;
    let mut store = Store::new("t1", |delivery| match &delivery.content {
        Content::Events(batch) => match batch.events.iter().find(|event| event.post_id != 2) {
            Some(event) => Err(HandlerError::poison(event, "it is odd")),
            None => Ok(()),
        },
        _ => Ok(()),
    });
    store.run(builder).await.expect("stopped");
    assert_eq!(store.ids, [2]);
    assert_eq!(store.dead, [(1, "it is odd".to_owned()), (3, "it is odd".to_owned())]);
    assert_eq!(gateway.tokens(), [None], "the session continues");
}

#[tokio::test]
async fn permanent_error_and_unaccepted_poison_end_run() {
    let script = || [vec![start("t0"), batch("t1", 1, &[1])]];
    let (_gateway, builder) = ScriptedGateway::start(script()).await;
    let mut store = Store::new("t1", |delivery| match delivery.content {
        Content::Events(_) => Err(HandlerError::permanent("no such table")),
        _ => Ok(()),
    });
    assert!(matches!(store.run(builder).await, Err(RunError::Handler(cause)) if cause.to_string() == "no such table"));
    let (_gateway, builder) = ScriptedGateway::start(script()).await;
    let mut store = Store::new("t1", |delivery| match &delivery.content {
        Content::Events(batch) => Err(HandlerError::poison(&batch.events[0], "rejected")),
        _ => Ok(()),
    });
    store.has_dead_letters = false;
    assert!(matches!(store.run(builder).await, Err(RunError::Handler(cause)) if cause.to_string() == "rejected"));
}

#[tokio::test]
async fn repeated_failures_end_run_at_limit() {
    let script = vec![start("t0"), batch("t1", 1, &[1])];
    let (gateway, builder) = ScriptedGateway::start([script.clone(), script]).await;
    let mut store = Store::new("t1", fail_at("t1", u32::MAX));
    assert!(matches!(store.run(builder.handler_failures_max(2)).await, Err(RunError::Handler(_))));
    assert_eq!(store.failures, [(1, true)]);
    // Not `None`: the start of the session was handled, and its token is stored.
    assert_eq!(gateway.tokens(), [None, Some("t0".into())]);
}

#[tokio::test]
async fn stop_reports_unfinished_delivery() {
    /// Its handler of events never returns.
    struct Stuck(watch::Sender<bool>);
    impl Handler for Stuck {
        async fn handle(&mut self, delivery: &Delivery) -> Result<(), HandlerError> {
            if let Content::Events(_) = delivery.content {
                self.0.send_replace(true);
                pending::<()>().await;
            }
            Ok(())
        }
    }
    let (_gateway, builder) = ScriptedGateway::start([vec![start("t0"), batch("t1", 1, &[1])]]).await;
    let mut stuck = Stuck(watch::Sender::new(false));
    let mut stopped = stuck.0.subscribe();
    let stop = async move { stopped.wait_for(|stopped| *stopped).await.map(drop).unwrap_or_default() };
    let consumer = builder.stop_wait_max(Duration::from_millis(10)).build().expect("valid options");
    let ended = tokio::time::timeout(Duration::from_mins(1), consumer.run(&mut stuck, stop)).await.expect("it ends");
    let Err(RunError::Unfinished { delivery, cause: None }) = ended else { panic!("{ended:?}") };
    assert!(has_token(&delivery, "t1"));
}

#[tokio::test]
async fn handled_token_goes_to_cursor_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("cursor");
    let (_gateway, builder) = ScriptedGateway::start([vec![start("t0"), batch("t1", 1, &[1])]]).await;
    let mut store = Store::new("t1", |_| Ok(()));
    store.run(builder.cursor_file(crate::CursorFile::open(&path).expect("opened"))).await.expect("stopped");
    assert_eq!(std::fs::read_to_string(&path).expect("written"), "t1\n");
}

#[tokio::test]
async fn stream_delivers_what_next_would() {
    let (_gateway, builder) = ScriptedGateway::start([vec![start("t0"), batch("t1", 2, &[1, 2])]]).await;
    let stream = builder.build().expect("valid options").into_stream();
    let taken: Vec<_> =
        tokio::time::timeout(Duration::from_mins(1), stream.take(2).collect()).await.expect("they come");
    let tokens: Vec<_> = taken.into_iter().map(|delivery| delivery.expect("no end").token).collect();
    assert_eq!(tokens, [Some("t0".into()), Some("t1".into())]);
}
