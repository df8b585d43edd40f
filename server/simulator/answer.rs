use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::config::{Backfill, Excess, Gzip};
use super::counters::RequestLine;
use super::faults::Refusal;
use super::oracle;
use super::rules;
use super::stream::{self, Ending, Kind, Live, Recovery, Seat};
use super::wire::Control;
use super::world::World;
use crate::model::UnixMillis;
use crate::task::OnExit;

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Bytes of a request body: 100 rules of 2,048 characters and more.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Answers a request.
pub(super) async fn answer(world: Arc<World>, socket: Arc<Control>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if let Some(rest) = path.strip_prefix("/simulator/") {
        let (method, query) = (request.method().clone(), request.uri().query().unwrap_or("").to_owned());
        let Some(body) = body_of(request).await else { return too_large() };
        return oracle::answer(&world, &method, rest, &query, body);
    }
    let mut line = RequestLine {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: headers_of(&request),
        received_ms: world.clock.now().0,
        status: 0,
    };
    let mut response = match &*path {
        "/2/powerstream" if request.method() == Method::GET => stream_or_refusal(&world, &socket, &request),
        "/2/powerstream/rules" => rules_answer(&world, request).await,
        _ => refusal(&world, Refusal::json(404, r#"{"title":"Not Found","type":"about:blank","status":404}"#)),
    };
    line.status = response.status().as_u16();
    world.remember(line);
    put(&mut response, "x-transaction-id", &format!("{:016x}", world.mint(0).id.0));
    response
}

fn stream_or_refusal(world: &Arc<World>, socket: &Arc<Control>, request: &Request<Incoming>) -> Response<Body> {
    match stream_answer(world, socket, request) {
        Ok(response) => response,
        Err(told) => refusal(world, told),
    }
}

fn stream_answer(
    world: &Arc<World>,
    socket: &Arc<Control>,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    if let Some(refusal) = world.faults.take_refusal() {
        world.count(|counters| counters.refused += 1);
        return Err(refusal);
    }
    authorized(world, request)?;
    let gzip = compression(world, request)?;
    let now = world.clock.now();
    let asked = stream::parse(request.uri().query().unwrap_or(""), now, world.config.recovery_freshness)
        .and_then(|asked| if asked.backfill_minutes > 0 { backfill_allowed(world).map(|()| asked) } else { Ok(asked) })
        .inspect_err(|_| world.count(|counters| counters.bad_requests += 1))?;
    if world.config.rules_required && world.rules.is_empty() {
        return Err(Refusal::no_rules());
    }
    let kind = if asked.recovery.is_some() { Kind::Recovery } else { Kind::Live };
    let seat = seat(world, socket, kind, asked.local_dc_only)?;
    let datacenter = seat.link.datacenter.map(|at| world.config.datacenters[at].clone());
    let body = match asked.recovery {
        Some(window) => {
            world.count(|counters| counters.recovery_jobs += 1);
            StreamBody::new(Recovery::new(world.clone(), seat, gzip, window).into_stream()).boxed_unsync()
        }
        None => {
            world.count(|counters| counters.connects += 1);
            let since = history_since(world, asked.backfill_minutes, now);
            StreamBody::new(Live::new(world.clone(), seat, gzip, since).into_stream()).boxed_unsync()
        }
    };
    let mut response = dated(world, Response::new(body));
    put(&mut response, CONTENT_TYPE.as_str(), "application/json; charset=utf-8");
    if gzip {
        put(&mut response, CONTENT_ENCODING.as_str(), "gzip");
    }
    if let Some(name) = datacenter {
        put(&mut response, "x-powerstream-datacenter", &name);
        put(&mut response, "x-powerstream-localdconly", "true");
    }
    Ok(response)
}

fn authorized(world: &World, request: &Request<Incoming>) -> Result<(), Refusal> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer ")).filter(|token| !token.is_empty());
    let right = token.is_some_and(|token| world.config.bearer.as_deref().is_none_or(|bearer| bearer == token));
    if right {
        return Ok(());
    }
    world.count(|counters| counters.unauthorized += 1);
    Err(Refusal::unauthorized())
}

fn compression(world: &World, request: &Request<Incoming>) -> Result<bool, Refusal> {
    let accepted = request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let accepted = accepted.is_some_and(|value| value.split(',').any(|one| one.trim().starts_with("gzip")));
    match world.config.gzip {
        Gzip::Off => Ok(false),
        Gzip::Required if !accepted => {
            let detail = "This connection requires compression. To enable compression, send an 'Accept-Encoding: gzip' \
                          header in your request and be ready to uncompress the stream as it is read on the client end.";
            let body = serde_json::json!({"error": {"message": detail, "sent": world.clock.now().to_string()}});
            Err(Refusal::json(406, &body.to_string()))
        }
        Gzip::Negotiated | Gzip::Required => Ok(accepted),
    }
}

fn backfill_allowed(world: &World) -> Result<(), Refusal> {
    if world.config.backfill == Backfill::Refused {
        world.count(|counters| counters.backfills_refused += 1);
        return Err(Refusal::invalid_request("Backfill is not enabled for this account."));
    }
    Ok(())
}

/// From when on the connection is served history. After a slow reader was dropped there is none (PowerTrack guide).
fn history_since(world: &World, minutes: u64, now: UnixMillis) -> Option<UnixMillis> {
    let overflowed = std::mem::take(&mut *world.overflowed.lock());
    if minutes == 0 || world.config.backfill == Backfill::Ignored {
        return None;
    }
    if overflowed {
        world.count(|counters| counters.backfills_refused += 1);
        return None;
    }
    world.count(|counters| counters.backfills += 1);
    Some(now.minus(Duration::from_secs(60 * minutes)))
}

fn seat(world: &Arc<World>, socket: &Arc<Control>, kind: Kind, local: bool) -> Result<Seat, Refusal> {
    let over = kind == Kind::Live && world.config.excess != Excess::Refuse429;
    let local = local.then_some(world.config.datacenters.len());
    let Some(seat) = world.seats.take(kind, over, local, socket.clone()) else {
        world.count(|counters| counters.too_many_connections += 1);
        return Err(Refusal::too_many_connections());
    };
    let newest = world.config.excess == Excess::NewestKilledAfterGrace;
    if over && world.seats.excess(newest).is_some() {
        world.tasks.spawn("simulator.excess", OnExit::Continue, end_excess(world.clone(), newest));
    }
    Ok(seat)
}

/// Ends a connection too many after the grace, if there still is one.
async fn end_excess(world: Arc<World>, newest: bool) {
    tokio::select! {
        () = world.clock.sleep(world.config.excess_grace) => {}
        () = world.tasks.shutdown().cancelled() => return,
    }
    let Some(link) = world.seats.excess(newest) else { return };
    let allowed = world.config.live_connections_max;
    let message = format!("Forced Disconnect: Too many connections. (Allowed Connections = {allowed})");
    let body = serde_json::json!({"error": {"message": message, "sent": world.clock.now().to_string()}});
    if link.end(Ending::Clean(Some(body.to_string().into()))) {
        world.count(|counters| counters.excess_ended += 1);
    }
}

async fn rules_answer(world: &Arc<World>, request: Request<Incoming>) -> Response<Body> {
    if let Err(told) = authorized(world, &request) {
        return refusal(world, told);
    }
    let method = match *request.method() {
        Method::GET => rules::Method::Get,
        Method::POST => rules::Method::Post,
        Method::DELETE => rules::Method::Delete,
        _ => return refusal(world, Refusal::json(405, r#"{"title":"Method Not Allowed","status":405}"#)),
    };
    let Some(body) = body_of(request).await else { return too_large() };
    let moment = world.clock.moment();
    let effective = moment.plus(world.config.rules_delay);
    let mut visit = rules::Visit { moment, wall: world.clock.now(), effective, id: &mut || world.mint(0).id.0 };
    let answer = rules::answer(&world.rules, method, &body, &mut visit);
    let (limit, remaining, reset) = answer.budget;
    world.count(|counters| match answer.status {
        200..300 => counters.rule_requests += 1,
        _ => counters.rule_requests_refused += 1,
    });
    let told = Refusal::json(answer.status, &answer.body.to_string())
        .with_header("x-rate-limit-limit", limit)
        .with_header("x-rate-limit-remaining", remaining)
        .with_header("x-rate-limit-reset", reset);
    refusal(world, told)
}

/// An answer that is whole.
pub(super) fn refusal(world: &World, told: Refusal) -> Response<Body> {
    let mut response = dated(world, Response::new(Full::new(Bytes::from(told.body)).boxed_unsync()));
    *response.status_mut() = StatusCode::from_u16(told.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in told.headers {
        put(&mut response, &name, &value);
    }
    response
}

/// hyper would put the system's time, which is not the simulator's where its clock runs faster.
fn dated(world: &World, mut response: Response<Body>) -> Response<Body> {
    let now = jiff::Timestamp::from_millisecond(world.clock.now().0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    put(&mut response, DATE.as_str(), &now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    response
}

fn put(response: &mut Response<Body>, name: &str, value: &str) {
    // What a caller gives as a header and is none, is left out.
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        response.headers_mut().insert(name, value);
    }
}

fn headers_of(request: &Request<Incoming>) -> Vec<(String, String)> {
    let shown = request.headers().iter().filter(|(name, _)| *name != AUTHORIZATION);
    shown.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

async fn body_of(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect().await;
    body.ok().map(http_body_util::Collected::to_bytes)
}

fn too_large() -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}
