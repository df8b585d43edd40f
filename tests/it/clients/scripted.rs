//! A gateway that follows a script: one list of acts for each Subscribe.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use powerstream_gateway::clock::{Clock, Moment};
use powerstream_gateway::proto::stream_service_server::{StreamService, StreamServiceServer};
use powerstream_gateway::proto::subscribe_request::Start;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{
    Draining, Event, EventBatch, GetStreamRequest, GetStreamResponse, Heartbeat, ListStreamsRequest,
    ListStreamsResponse, ListTagsRequest, ListTagsResponse, Origin, ResolvePositionRequest, ResolvePositionResponse,
    SessionStart, StartOutcome, SubscribeRequest, SubscribeResponse,
};
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::example::Example;
use super::language::Language;
use crate::harness::eventually;

/// What the gateway does next.
#[derive(Clone)]
pub enum Act {
    /// Sends this.
    Send(Box<SubscribeResponse>),
    /// Ends the stream with this status.
    End(Status),
    /// Continues once the test has opened the gate.
    Gate,
    /// Keeps the stream open and silent.
    Hang,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// What was asked for.
    pub request: SubscribeRequest,
    /// The header with the credential.
    pub authorization: Option<String>,
    /// When it came.
    pub at: Moment,
}

/// The gateway; gone when dropped.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    scripts: Mutex<VecDeque<Vec<Act>>>,
    calls: Mutex<Vec<Call>>,
    gate: watch::Sender<bool>,
}

/// The gateway with an example that reads from it, and the directory of both.
pub struct Scripted {
    /// The example.
    pub example: Example,
    /// The gateway.
    pub gateway: Gateway,
    server: tokio::task::JoinHandle<()>,
    dir: tempfile::TempDir,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Scripted {
    /// Plays these scripts, one for each call; what calls after the last hangs.
    pub async fn new(language: Language, scripts: impl IntoIterator<Item = Vec<Act>>) -> Self {
        let inner = Inner {
            clock: Clock::system(),
            scripts: Mutex::new(scripts.into_iter().collect()),
            calls: Mutex::default(),
            gate: watch::Sender::new(false),
        };
        let gateway = Gateway { inner: Arc::new(inner) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("it is bound");
        let service = StreamServiceServer::new(gateway.clone());
        let serving = tonic::transport::Server::builder().add_service(service);
        let serving = serving.serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { serving.await.expect("it serves") });
        let dir = tempfile::TempDir::new().expect("a directory");
        let example = Example::new(language, dir.path(), &address.to_string());
        Self { example, gateway, server, dir }
    }

    /// The directory of both.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// The example is started with these flags too.
    pub fn start_with(&mut self, flags: &[&str]) {
        let idle = Example::new(Language::Rust, self.dir.path(), "");
        let example = std::mem::replace(&mut self.example, idle);
        self.example = example.with(flags);
        self.example.start();
    }
}

impl Gateway {
    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.inner.calls.lock().clone()
    }

    /// Waits for so many calls.
    pub async fn called(&self, times: usize) -> Vec<Call> {
        eventually(&format!("the example calls {times} times"), async || self.inner.calls.lock().len() >= times).await;
        self.calls()
    }

    /// Opens the gate.
    pub fn open_gate(&self) {
        self.inner.gate.send_replace(true);
    }

    /// The tokens that were asked for; empty for a call without one.
    pub fn tokens(&self) -> Vec<String> {
        let token = |call: Call| match call.request.start {
            Some(Start::ResumeToken(token)) => token,
            _ => String::new(),
        };
        self.calls().into_iter().map(token).collect()
    }
}

#[tonic::async_trait]
impl StreamService for Gateway {
    type SubscribeStream = BoxStream<'static, Result<SubscribeResponse, Status>>;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let header = request.metadata().get("authorization");
        let authorization = header.map(|value| value.to_str().expect("it is ASCII").to_owned());
        let call = Call { authorization, at: self.inner.clock.moment(), request: request.into_inner() };
        self.inner.calls.lock().push(call);
        let script = self.inner.scripts.lock().pop_front().unwrap_or_else(|| vec![Act::Hang]);
        if let [Act::End(status)] = &script[..] {
            return Err(status.clone());
        }
        let gate = self.inner.gate.subscribe();
        let acts = stream::iter(script).filter_map(move |act| {
            let mut gate = gate.clone();
            let outcome: Pin<Box<dyn Future<Output = Option<Result<SubscribeResponse, Status>>> + Send>> = match act {
                Act::Send(response) => Box::pin(std::future::ready(Some(Ok(*response)))),
                Act::End(status) => Box::pin(std::future::ready(Some(Err(status)))),
                Act::Gate => Box::pin(async move {
                    gate.wait_for(|open| *open).await.expect("the gateway outlives its streams");
                    None
                }),
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

/// Sends this frame with this token.
pub fn send(token: &str, frame: impl Into<Option<Frame>>) -> Act {
    Act::Send(Box::new(SubscribeResponse { resume_token: token.into(), frame: frame.into() }))
}

/// Begins the session, with a heartbeat of a second.
pub fn start(token: &str) -> Act {
    let heartbeat_interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let start = SessionStart {
        session_id: "s1".into(),
        server_version: "0.0.0".into(),
        account: "main".into(),
        heartbeat_interval,
        outcome: StartOutcome::Exact.into(),
        ..SessionStart::default()
    };
    send(token, Frame::SessionStart(start))
}

/// A batch with these events.
pub fn batch(token: &str, sequences: &[u64], delivered_total: u64) -> Act {
    let event = |&sequence| Event {
        sequence,
        // Over 2^53: not every language has such a number by itself.
        post_id: u64::MAX - sequence,
        origin: Origin::Live.into(),
        json: format!("{{\"n\":{sequence}}}"),
        ..Event::default()
    };
    let events = sequences.iter().map(event).collect();
    send(token, Frame::EventBatch(EventBatch { events, delivered_total, ..EventBatch::default() }))
}

/// A heartbeat.
pub fn heartbeat(token: &str, delivered_total: u64) -> Act {
    send(token, Frame::Heartbeat(Heartbeat { delivered_total, ..Heartbeat::default() }))
}

/// A Draining frame that requests a reconnect after this.
pub fn draining(token: &str, after: Duration) -> Act {
    let reconnect_after = Some(prost_types::Duration { seconds: 0, nanos: after.subsec_nanos() as i32 });
    send(token, Frame::Draining(Draining { reconnect_after, ..Draining::default() }))
}

/// An end for a reason of the gateway.
pub fn end(code: Code, reason: &str, after: Option<Duration>) -> Act {
    end_of("powerstream.gateway", code, reason, after)
}

/// An end for a reason of this domain.
pub fn end_of(domain: &str, code: Code, reason: &str, after: Option<Duration>) -> Act {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, domain, HashMap::new());
    if after.is_some() {
        details.set_retry_info(after);
    }
    Act::End(Status::with_error_details(code, "as scripted", details))
}

/// An end without a reason.
pub fn cut() -> Act {
    Act::End(Status::unavailable("connection reset"))
}
