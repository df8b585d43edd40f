use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{Method, Request, Response};

use super::config::{AfterOverflow, Backfill, ConnectionLimitPolicy, Gzip};
use super::control_api;
use super::counters::RequestLine;
use super::faults::{BogusResponse, ErrorResponse, Flow, InjectedResponse, RuleMethod};
use super::response::{SimulatorBody, date, put, refusal, too_large};
use super::rules::RuleRequestRecord;
use super::rules_endpoint::{self, NoAnswer};
use super::socket::SocketControl;
use super::state::SimulatorState;
use super::stream::{
    self, LiveStream, ParamError, RecoveryStream, SlotRequest, StreamEnd, StreamKind, StreamSlotGuard,
};
use crate::model::UnixMillis;
use crate::task::ExitPolicy;

/// Path of requests about rules.
const RULES_PATH: &str = "/2/powerstream/rules";
/// Bytes of a request body: 100 rules of 2,048 characters and more.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Answers a request.
pub(super) async fn handle(
    state: Arc<SimulatorState>,
    socket: Arc<SocketControl>,
    request: Request<Incoming>,
) -> Response<SimulatorBody> {
    let path = request.uri().path().to_owned();
    if let Some(rest) = path.strip_prefix("/simulator/") {
        let (method, query) = (request.method().clone(), request.uri().query().unwrap_or("").to_owned());
        let Some(body) = body_of(request).await else { return too_large() };
        return control_api::answer(&state, &method, rest, &query, body);
    }
    let mut line = RequestLine {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: headers_of(&request),
        received_ms: state.clock.now().0,
        status: 0,
    };
    let (via, path) = match route_datacenter(&state, &path) {
        Some((at, rest)) => (Some(at), rest),
        None => (None, &*path),
    };
    let mut response = match path {
        "/2/powerstream" if request.method() == Method::GET => stream_or_refusal(&state, &socket, &request, via),
        RULES_PATH => match rules_response(&state, request).await {
            Ok(response) => response,
            Err(no_answer) => return unanswered(&socket, no_answer).await,
        },
        _ => refusal(ErrorResponse::json(404, r#"{"title":"Not Found","type":"about:blank","status":404}"#)),
    };
    line.status = response.status().as_u16();
    // Those about rules have records of their own.
    if path != RULES_PATH {
        state.remember(line);
    }
    date(&state, &mut response);
    put(&mut response, "x-transaction-id", &format!("{:016x}", state.mint(0).id.0));
    response
}

/// Gives a request no answer, and waits until its connection ends.
async fn unanswered(socket: &SocketControl, no_answer: NoAnswer) -> Response<SimulatorBody> {
    if no_answer == NoAnswer::Reset {
        socket.reset();
    }
    std::future::pending().await
}

/// The datacenter that a path names, and the path within: `/dc/NAME/2/powerstream`.
fn route_datacenter<'a>(state: &SimulatorState, path: &'a str) -> Option<(usize, &'a str)> {
    let inside = path.strip_prefix("/dc/")?;
    let (name, _) = inside.split_once('/')?;
    let at = state.config().datacenters.iter().position(|datacenter| datacenter == name)?;
    Some((at, &inside[name.len()..]))
}

fn stream_or_refusal(
    state: &Arc<SimulatorState>,
    socket: &Arc<SocketControl>,
    request: &Request<Incoming>,
    via: Option<usize>,
) -> Response<SimulatorBody> {
    stream_response(state, socket, request, via).unwrap_or_else(refusal)
}

fn stream_response(
    state: &Arc<SimulatorState>,
    socket: &Arc<SocketControl>,
    request: &Request<Incoming>,
    via: Option<usize>,
) -> Result<Response<SimulatorBody>, ErrorResponse> {
    let (config, query) = (state.config(), request.uri().query().unwrap_or(""));
    let hollow = injected_response(state, stream::is_recovery(query), via)?;
    authorized(state, request)?;
    let gzip = compression(state, request)?;
    let now = state.now();
    let asked = stream::parse(query, now, config.recovery_freshness).map_err(|wrong| wrong_request(state, wrong))?;
    if config.rules_required && state.rules.is_empty() {
        return Err(ErrorResponse::no_rules());
    }
    let since = if hollow.is_none() { history_since(state, asked.backfill_minutes, now)? } else { None };
    let kind = if asked.recovery.is_some() { StreamKind::Recovery } else { StreamKind::Live };
    let slot = acquire_slot(state, socket, kind, asked.local_dc_only, via)?;
    let datacenter = slot.link.datacenter.and_then(|at| config.datacenters.get(at));
    if let Some(hollow) = hollow {
        let name = via.and_then(|at| config.datacenters.get(at)).map(String::as_str);
        state.faults.consume_bogus_response(kind == StreamKind::Recovery, name);
        inject_bogus_response(state, &slot, hollow);
    } else if kind == StreamKind::Live {
        admitted(state, asked.backfill_minutes, since);
    }
    let window = asked.recovery.map(|window| (window.from.0, window.to.0));
    state.writes.opened(slot.link.number, state.now().0, window, asked.backfill_minutes > 0);
    let body = match asked.recovery {
        Some(window) => {
            state.count(|counters| counters.recovery_jobs += 1);
            StreamBody::new(RecoveryStream::new(state.clone(), slot, gzip, window).into_stream()).boxed_unsync()
        }
        None => {
            state.count(|counters| counters.connects += 1);
            StreamBody::new(LiveStream::new(state.clone(), slot, gzip, since).into_stream()).boxed_unsync()
        }
    };
    let mut response = Response::new(body);
    let page = hollow == Some(BogusResponse::Html);
    put(&mut response, CONTENT_TYPE.as_str(), if page { "text/html" } else { "application/json; charset=utf-8" });
    if gzip {
        put(&mut response, CONTENT_ENCODING.as_str(), "gzip");
    }
    if let Some(name) = datacenter {
        put(&mut response, "x-powerstream-datacenter", name);
        put(&mut response, "x-powerstream-localdconly", "true");
    }
    Ok(response)
}

/// What was asked for to be given to a request like this.
fn injected_response(
    state: &SimulatorState,
    recovery: bool,
    via: Option<usize>,
) -> Result<Option<BogusResponse>, ErrorResponse> {
    let config = state.config();
    let datacenter = via.and_then(|at| config.datacenters.get(at)).map(String::as_str);
    match state.faults.take_answer(recovery, datacenter, state.clock.moment()) {
        None => Ok(None),
        Some(InjectedResponse::Hollow(hollow)) => Ok(Some(hollow)),
        Some(InjectedResponse::Refuse(refusal)) => {
            state.count(|counters| {
                counters.refused += 1;
                counters.refused_recovery += u64::from(recovery);
                counters.redirects += u64::from((300..400).contains(&refusal.status));
            });
            Err(refusal)
        }
    }
}

/// Lets a stream that was admitted carry something else than posts.
fn inject_bogus_response(state: &SimulatorState, slot: &StreamSlotGuard, hollow: BogusResponse) {
    let link = &slot.link;
    match hollow {
        BogusResponse::Error(error) => {
            link.end(StreamEnd::Clean(Some(error.json().into())));
            state.count(|counters| counters.in_stream_errors += 1);
        }
        BogusResponse::Html => {
            link.end(StreamEnd::Clean(Some(ErrorResponse::html().body.into())));
            state.count(|counters| counters.html_answers += 1);
        }
        BogusResponse::Empty => {
            link.end(StreamEnd::Clean(None));
            state.count(|counters| counters.empty_answers += 1);
        }
        BogusResponse::Silence => link.set_flow(Flow::Stalled),
        BogusResponse::Trickle { every } => link.set_flow(Flow::Trickle { every }),
        BogusResponse::Garbage { every } => link.set_flow(Flow::Garbage { every }),
    }
}

fn wrong_request(state: &SimulatorState, wrong: ParamError) -> ErrorResponse {
    state.count(|counters| {
        counters.bad_requests += 1;
        counters.recovery_too_fresh += u64::from(matches!(wrong, ParamError::TooFresh(_)));
    });
    let (ParamError::TooFresh(refusal) | ParamError::Else(refusal)) = wrong;
    refusal
}

fn authorized(state: &SimulatorState, request: &Request<Incoming>) -> Result<(), ErrorResponse> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer ")).filter(|token| !token.is_empty());
    let right = token.is_some_and(|token| state.config().bearer.as_deref().is_none_or(|bearer| bearer == token));
    if right {
        return Ok(());
    }
    state.count(|counters| counters.unauthorized += 1);
    Err(ErrorResponse::unauthorized())
}

fn compression(state: &SimulatorState, request: &Request<Incoming>) -> Result<bool, ErrorResponse> {
    let accepted = request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let accepted = accepted.is_some_and(|value| value.split(',').any(|one| one.trim().starts_with("gzip")));
    match state.config().gzip {
        Gzip::Off => Ok(false),
        Gzip::Required if !accepted => {
            let detail = "This connection requires compression. To enable compression, send an 'Accept-Encoding: gzip' \
                          header in your request and be ready to uncompress the stream as it is read on the client end.";
            let body = serde_json::json!({"error": {"message": detail, "sent": state.now().to_string()}});
            Err(ErrorResponse::json(406, &body.to_string()))
        }
        Gzip::Negotiated | Gzip::Required => Ok(accepted),
    }
}

/// From when on the connection is to be served history, if it is. After a slow reader was dropped there is none.
fn history_since(state: &SimulatorState, minutes: u64, now: UnixMillis) -> Result<Option<UnixMillis>, ErrorResponse> {
    let config = state.config();
    if minutes == 0 {
        return Ok(None);
    }
    let refused = match config.backfill {
        Backfill::Refused => Some(ErrorResponse::backfill_not_enabled()),
        Backfill::Forbidden => Some(ErrorResponse::not_entitled()),
        _ if *state.overflowed.lock() && config.slow_reader_backfill == AfterOverflow::Refused => {
            Some(ErrorResponse::invalid_request("Backfill is not available after a full buffer disconnect."))
        }
        _ => None,
    };
    if let Some(refusal) = refused {
        state.count(|counters| {
            counters.bad_requests += 1;
            counters.backfills_refused += 1;
        });
        return Err(refusal);
    }
    let served = config.backfill != Backfill::Ignored && !*state.overflowed.lock();
    Ok(served.then(|| now.minus(Duration::from_secs(60 * minutes))))
}

/// A live connection begins: what became of the backfill that it asked for is counted.
fn admitted(state: &SimulatorState, minutes: u64, since: Option<UnixMillis>) {
    let overflowed = std::mem::take(&mut *state.overflowed.lock());
    state.count(|counters| match since {
        Some(_) => counters.backfills += 1,
        None if minutes == 0 => {}
        None if overflowed => counters.backfills_refused += 1,
        None => counters.backfills_ignored += 1,
    });
}

fn acquire_slot(
    state: &Arc<SimulatorState>,
    socket: &Arc<SocketControl>,
    kind: StreamKind,
    local: bool,
    via: Option<usize>,
) -> Result<StreamSlotGuard, ErrorResponse> {
    let config = state.config();
    let over = kind == StreamKind::Live && config.excess != ConnectionLimitPolicy::Refuse429;
    let wanted = SlotRequest { kind, over, local: local.then_some(config.datacenters.len()), via };
    let Some(slot) = state.slots.take(state.limits(), wanted, socket.clone()) else {
        state.count(|counters| counters.too_many_connections += 1);
        return Err(ErrorResponse::too_many_connections());
    };
    let newest = config.excess == ConnectionLimitPolicy::NewestKilledAfterGrace;
    if over && state.slots.excess(config.live_connections_max, newest).is_some() {
        state.tasks.spawn("simulator.excess", ExitPolicy::Continue, end_excess(state.clone(), newest));
    }
    Ok(slot)
}

/// Ends a connection too many after the grace, if there still is one.
async fn end_excess(state: Arc<SimulatorState>, newest: bool) {
    tokio::select! {
        () = state.clock.sleep(state.config().excess_grace) => {}
        () = state.tasks.shutdown().cancelled() => return,
    }
    let allowed = state.config().live_connections_max;
    let Some(link) = state.slots.excess(allowed, newest) else { return };
    let message = format!("Forced Disconnect: Too many connections. (Allowed Connections = {allowed})");
    let body = serde_json::json!({"error": {"message": message, "sent": state.now().to_string()}});
    if link.end(StreamEnd::Clean(Some(body.to_string().into()))) {
        state.count(|counters| counters.excess_ended += 1);
    }
}

async fn rules_response(
    state: &Arc<SimulatorState>,
    request: Request<Incoming>,
) -> Result<Response<SimulatorBody>, NoAnswer> {
    let record = RuleRequestRecord {
        method: request.method().to_string(),
        received_ms: state.clock.now().0,
        in_day: state.rule_requests.arrived(state.clock.moment()),
        ..RuleRequestRecord::default()
    };
    if let Err(response) = authorized(state, &request) {
        return Ok(rules_endpoint::refuse(state, record, response));
    }
    let method = match *request.method() {
        Method::GET => RuleMethod::Get,
        Method::POST => RuleMethod::Post,
        Method::DELETE => RuleMethod::Delete,
        _ => {
            let response = ErrorResponse::json(405, r#"{"title":"Method Not Allowed","status":405}"#);
            return Ok(rules_endpoint::refuse(state, record, response));
        }
    };
    let Some(body) = body_of(request).await else { return Ok(too_large()) };
    rules_endpoint::serve(state, method, &body, record)
}

fn headers_of(request: &Request<Incoming>) -> Vec<(String, String)> {
    let shown = request.headers().iter().filter(|(name, _)| *name != AUTHORIZATION);
    shown.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

async fn body_of(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect().await;
    body.ok().map(http_body_util::Collected::to_bytes)
}
