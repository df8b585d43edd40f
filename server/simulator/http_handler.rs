use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::config::{AfterOverflow, Backfill, Excess, Gzip};
use super::control_api;
use super::counters::RequestLine;
use super::faults::{Answer, DateHeader, Flow, Hollow, Refusal};
use super::rules;
use super::socket::Control;
use super::state::World;
use super::stream::{self, Ending, Kind, Live, Recovery, Seat, Wanted, Wrong};
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
        return control_api::answer(&world, &method, rest, &query, body);
    }
    let mut line = RequestLine {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: headers_of(&request),
        received_ms: world.clock.now().0,
        status: 0,
    };
    let (via, path) = match entrance(&world, &path) {
        Some((at, rest)) => (Some(at), rest),
        None => (None, &*path),
    };
    let mut response = match path {
        "/2/powerstream" if request.method() == Method::GET => stream_or_refusal(&world, &socket, &request, via),
        "/2/powerstream/rules" => rules_answer(&world, request).await,
        _ => refusal(Refusal::json(404, r#"{"title":"Not Found","type":"about:blank","status":404}"#)),
    };
    line.status = response.status().as_u16();
    world.remember(line);
    date(&world, &mut response);
    put(&mut response, "x-transaction-id", &format!("{:016x}", world.mint(0).id.0));
    response
}

/// The datacenter that a path names, and the path within: `/dc/NAME/2/powerstream`.
fn entrance<'a>(world: &World, path: &'a str) -> Option<(usize, &'a str)> {
    let inside = path.strip_prefix("/dc/")?;
    let (name, _) = inside.split_once('/')?;
    let at = world.config().datacenters.iter().position(|datacenter| datacenter == name)?;
    Some((at, &inside[name.len()..]))
}

fn stream_or_refusal(
    world: &Arc<World>,
    socket: &Arc<Control>,
    request: &Request<Incoming>,
    via: Option<usize>,
) -> Response<Body> {
    stream_answer(world, socket, request, via).unwrap_or_else(refusal)
}

fn stream_answer(
    world: &Arc<World>,
    socket: &Arc<Control>,
    request: &Request<Incoming>,
    via: Option<usize>,
) -> Result<Response<Body>, Refusal> {
    let (config, query) = (world.config(), request.uri().query().unwrap_or(""));
    let hollow = hollow_or_refused(world, stream::is_recovery(query), via)?;
    authorized(world, request)?;
    let gzip = compression(world, request)?;
    let now = world.now();
    let asked = stream::parse(query, now, config.recovery_freshness).map_err(|wrong| wrong_request(world, wrong))?;
    if config.rules_required && world.rules.is_empty() {
        return Err(Refusal::no_rules());
    }
    let since = if hollow.is_none() { history_since(world, asked.backfill_minutes, now)? } else { None };
    let kind = if asked.recovery.is_some() { Kind::Recovery } else { Kind::Live };
    let seat = seat(world, socket, kind, asked.local_dc_only, via)?;
    let datacenter = seat.link.datacenter.and_then(|at| config.datacenters.get(at));
    if let Some(hollow) = hollow {
        let name = via.and_then(|at| config.datacenters.get(at)).map(String::as_str);
        world.faults.spend_hollow(kind == Kind::Recovery, name);
        make_hollow(world, &seat, hollow);
    } else if kind == Kind::Live {
        admitted(world, asked.backfill_minutes, since);
    }
    let window = asked.recovery.map(|window| (window.from.0, window.to.0));
    world.writes.opened(seat.link.number, world.now().0, window, asked.backfill_minutes > 0);
    let body = match asked.recovery {
        Some(window) => {
            world.count(|counters| counters.recovery_jobs += 1);
            StreamBody::new(Recovery::new(world.clone(), seat, gzip, window).into_stream()).boxed_unsync()
        }
        None => {
            world.count(|counters| counters.connects += 1);
            StreamBody::new(Live::new(world.clone(), seat, gzip, since).into_stream()).boxed_unsync()
        }
    };
    let mut response = Response::new(body);
    let page = hollow == Some(Hollow::Html);
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
fn hollow_or_refused(world: &World, recovery: bool, via: Option<usize>) -> Result<Option<Hollow>, Refusal> {
    let config = world.config();
    let datacenter = via.and_then(|at| config.datacenters.get(at)).map(String::as_str);
    match world.faults.take_answer(recovery, datacenter, world.clock.moment()) {
        None => Ok(None),
        Some(Answer::Hollow(hollow)) => Ok(Some(hollow)),
        Some(Answer::Refuse(refusal)) => {
            world.count(|counters| {
                counters.refused += 1;
                counters.refused_recovery += u64::from(recovery);
                counters.redirects += u64::from((300..400).contains(&refusal.status));
            });
            Err(refusal)
        }
    }
}

/// Lets a stream that was admitted carry something else than posts.
fn make_hollow(world: &World, seat: &Seat, hollow: Hollow) {
    let link = &seat.link;
    match hollow {
        Hollow::Error(error) => {
            link.end(Ending::Clean(Some(error.json().into())));
            world.count(|counters| counters.in_stream_errors += 1);
        }
        Hollow::Html => {
            link.end(Ending::Clean(Some(Refusal::html().body.into())));
            world.count(|counters| counters.html_answers += 1);
        }
        Hollow::Empty => {
            link.end(Ending::Clean(None));
            world.count(|counters| counters.empty_answers += 1);
        }
        Hollow::Silence => link.set_flow(Flow::Stalled),
        Hollow::Trickle { every } => link.set_flow(Flow::Trickle { every }),
        Hollow::Garbage { every } => link.set_flow(Flow::Garbage { every }),
    }
}

fn wrong_request(world: &World, wrong: Wrong) -> Refusal {
    world.count(|counters| {
        counters.bad_requests += 1;
        counters.recovery_too_fresh += u64::from(matches!(wrong, Wrong::TooFresh(_)));
    });
    let (Wrong::TooFresh(refusal) | Wrong::Else(refusal)) = wrong;
    refusal
}

fn authorized(world: &World, request: &Request<Incoming>) -> Result<(), Refusal> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer ")).filter(|token| !token.is_empty());
    let right = token.is_some_and(|token| world.config().bearer.as_deref().is_none_or(|bearer| bearer == token));
    if right {
        return Ok(());
    }
    world.count(|counters| counters.unauthorized += 1);
    Err(Refusal::unauthorized())
}

fn compression(world: &World, request: &Request<Incoming>) -> Result<bool, Refusal> {
    let accepted = request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let accepted = accepted.is_some_and(|value| value.split(',').any(|one| one.trim().starts_with("gzip")));
    match world.config().gzip {
        Gzip::Off => Ok(false),
        Gzip::Required if !accepted => {
            let detail = "This connection requires compression. To enable compression, send an 'Accept-Encoding: gzip' \
                          header in your request and be ready to uncompress the stream as it is read on the client end.";
            let body = serde_json::json!({"error": {"message": detail, "sent": world.now().to_string()}});
            Err(Refusal::json(406, &body.to_string()))
        }
        Gzip::Negotiated | Gzip::Required => Ok(accepted),
    }
}

/// From when on the connection is to be served history, if it is. After a slow reader was dropped there is none.
fn history_since(world: &World, minutes: u64, now: UnixMillis) -> Result<Option<UnixMillis>, Refusal> {
    let config = world.config();
    if minutes == 0 {
        return Ok(None);
    }
    let refused = match config.backfill {
        Backfill::Refused => Some(Refusal::backfill_not_enabled()),
        Backfill::Forbidden => Some(Refusal::not_entitled()),
        _ if *world.overflowed.lock() && config.slow_reader_backfill == AfterOverflow::Refused => {
            Some(Refusal::invalid_request("Backfill is not available after a full buffer disconnect."))
        }
        _ => None,
    };
    if let Some(refusal) = refused {
        world.count(|counters| {
            counters.bad_requests += 1;
            counters.backfills_refused += 1;
        });
        return Err(refusal);
    }
    let served = config.backfill != Backfill::Ignored && !*world.overflowed.lock();
    Ok(served.then(|| now.minus(Duration::from_secs(60 * minutes))))
}

/// A live connection begins: what became of the backfill that it asked for is counted.
fn admitted(world: &World, minutes: u64, since: Option<UnixMillis>) {
    let overflowed = std::mem::take(&mut *world.overflowed.lock());
    world.count(|counters| match since {
        Some(_) => counters.backfills += 1,
        None if minutes == 0 => {}
        None if overflowed => counters.backfills_refused += 1,
        None => counters.backfills_ignored += 1,
    });
}

fn seat(
    world: &Arc<World>,
    socket: &Arc<Control>,
    kind: Kind,
    local: bool,
    via: Option<usize>,
) -> Result<Seat, Refusal> {
    let config = world.config();
    let over = kind == Kind::Live && config.excess != Excess::Refuse429;
    let wanted = Wanted { kind, over, local: local.then_some(config.datacenters.len()), via };
    let Some(seat) = world.seats.take(world.limits(), wanted, socket.clone()) else {
        world.count(|counters| counters.too_many_connections += 1);
        return Err(Refusal::too_many_connections());
    };
    let newest = config.excess == Excess::NewestKilledAfterGrace;
    if over && world.seats.excess(config.live_connections_max, newest).is_some() {
        world.tasks.spawn("simulator.excess", OnExit::Continue, end_excess(world.clone(), newest));
    }
    Ok(seat)
}

/// Ends a connection too many after the grace, if there still is one.
async fn end_excess(world: Arc<World>, newest: bool) {
    tokio::select! {
        () = world.clock.sleep(world.config().excess_grace) => {}
        () = world.tasks.shutdown().cancelled() => return,
    }
    let allowed = world.config().live_connections_max;
    let Some(link) = world.seats.excess(allowed, newest) else { return };
    let message = format!("Forced Disconnect: Too many connections. (Allowed Connections = {allowed})");
    let body = serde_json::json!({"error": {"message": message, "sent": world.now().to_string()}});
    if link.end(Ending::Clean(Some(body.to_string().into()))) {
        world.count(|counters| counters.excess_ended += 1);
    }
}

async fn rules_answer(world: &Arc<World>, request: Request<Incoming>) -> Response<Body> {
    if let Err(told) = authorized(world, &request) {
        return refusal(told);
    }
    let method = match *request.method() {
        Method::GET => rules::Method::Get,
        Method::POST => rules::Method::Post,
        Method::DELETE => rules::Method::Delete,
        _ => return refusal(Refusal::json(405, r#"{"title":"Method Not Allowed","status":405}"#)),
    };
    let Some(body) = body_of(request).await else { return too_large() };
    let moment = world.clock.moment();
    let effective = moment.plus(world.config().rules_delay);
    let mut visit = rules::Visit { moment, wall: world.now(), effective, id: &mut || world.mint(0).id.0 };
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
    refusal(told)
}

/// An answer that is whole.
pub(super) fn refusal(told: Refusal) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(told.body)).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(told.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in told.headers {
        put(&mut response, &name, &value);
    }
    response
}

/// hyper would put the system's time, which is not X's where the clock runs faster.
fn date(world: &World, response: &mut Response<Body>) {
    let header = world.faults.date();
    if header != DateHeader::Right {
        world.count(|counters| counters.dates_wrong += 1);
    }
    if let Some(text) = header.text(world.now()) {
        put(response, DATE.as_str(), &text);
    }
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
