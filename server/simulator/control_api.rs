use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use hyper::{Method, Response};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::faults::{CutKind, ErrorResponse};
use super::handle::SimulatorHandle;
use super::response::{SimulatorBody, refusal};
use super::script::Action;
use super::sent_post::SentPost;
use super::state::SimulatorState;

/// Lines of an answer where the request names no number.
const LINES_DEFAULT: usize = 1_000;
/// Lines of an answer at most.
const LINES_MAX: usize = 100_000;
/// Requests shown with the state.
const REQUESTS_SHOWN: usize = 200;

/// Serves other processes the data of `SimulatorHandle`: ground truth, state, and faults.
pub(super) fn answer(
    world: &Arc<SimulatorState>,
    method: &Method,
    path: &str,
    query: &str,
    body: Bytes,
) -> Response<SimulatorBody> {
    let handle = SimulatorHandle::of(world.clone());
    let response = match (method.as_str(), path) {
        ("GET", "truth") => truth(&handle, query),
        ("GET", "rule_requests") => Ok(ErrorResponse::json(200, &json!(handle.rule_requests()).to_string())),
        ("GET", "state") => Ok(ErrorResponse::json(200, &state(&handle).to_string())),
        ("POST", _) => command(&handle, path, query, body),
        ("DELETE", "refuse") => {
            handle.clear_refusals();
            done(json!({"cleared": true}))
        }
        _ => Err("there is GET truth, state, rule_requests; POST do, cut, stall, rate, pause, refuse, inject, publish; DELETE refuse"
            .into()),
    };
    refusal(response.unwrap_or_else(|error| ErrorResponse::json(400, &json!({"error": error}).to_string())))
}

fn command(handle: &SimulatorHandle, path: &str, query: &str, body: Bytes) -> Result<ErrorResponse, String> {
    match path {
        "cut" => {
            let kind = parsed::<CutKind>(query, "kind")?;
            let recovery = value(query, "of").is_some_and(|of| of == "recovery");
            done(json!({"cut": if recovery { handle.cut_recovery(kind) } else { handle.cut(kind) }}))
        }
        "stall" => {
            let on = parsed(query, "on")?;
            handle.stall(on);
            done(json!({"stalled": on}))
        }
        "pause" => {
            let on: bool = parsed(query, "on")?;
            if on {
                handle.pause()
            } else {
                handle.resume()
            }
            done(json!({"paused": on}))
        }
        "rate" => {
            let rate: f64 = parsed(query, "value")?;
            handle.set_rate(rate);
            done(json!({"rate": rate}))
        }
        "refuse" => refuse(handle, query, &body),
        "do" => act(handle, &body),
        "inject" => {
            handle.inject(body);
            done(json!({"injected": true}))
        }
        "publish" => {
            let text = std::str::from_utf8(&body).map_err(|_| "a post is UTF-8")?;
            let truth = handle.publish(text).map_err(|error| error.to_string())?;
            done(json!({"post_id": truth.post_id.to_string(), "ordinal": truth.ordinal}))
        }
        _ => Err(format!("there is no {path}")),
    }
}

/// One action of a script, as in `{"cut": {"kind": "reset"}}`.
fn act(handle: &SimulatorHandle, body: &[u8]) -> Result<ErrorResponse, String> {
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| format!("an action is JSON: {error}"))?;
    let mut actions = body.iter();
    let (Some((name, arguments)), None) = (actions.next(), actions.next()) else {
        return Err(format!("name one action: there are {}", Action::NAMES.join(", ")));
    };
    let action = Action::read(name, arguments, &handle.config())?;
    done(json!({"done": action.apply(handle)}))
}

/// Injects the error named by `kind=`, or `status=` with the body of this request; `times=` requests, else until
/// cleared.
fn refuse(handle: &SimulatorHandle, query: &str, body: &[u8]) -> Result<ErrorResponse, String> {
    let refusal = match value(query, "kind") {
        Some(kind) => ErrorResponse::named(&kind).ok_or(format!("no refusal is called {kind}"))?,
        None => ErrorResponse::json(parsed(query, "status")?, &String::from_utf8_lossy(body)),
    };
    let status = refusal.status;
    if value(query, "times").is_some() {
        handle.refuse_next(parsed(query, "times")?, refusal);
    } else {
        handle.refuse_until_cleared(refusal);
    }
    done(json!({"refused_with": status}))
}

fn truth(handle: &SimulatorHandle, query: &str) -> Result<ErrorResponse, String> {
    let number = |key, default| if value(query, key).is_some() { parsed(query, key) } else { Ok(default) };
    let after = number("after", 0)?;
    let limit = number("limit", LINES_DEFAULT as u64)?.min(LINES_MAX as u64) as usize;
    let payload = value(query, "payload").is_some_and(|payload| payload == "1");
    let mut lines = String::new();
    for truth in handle.truth_after(after, limit) {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{}", line(&truth, payload));
    }
    Ok(ErrorResponse { status: 200, headers: vec![("content-type".into(), "application/jsonl".into())], body: lines })
}

fn line(truth: &SentPost, payload: bool) -> Value {
    let rules: Vec<Value> = truth
        .rules
        .iter()
        .map(|rule| json!({"id": rule.id.map(|id| id.to_string()), "tag": rule.tag.as_deref()}))
        .collect();
    let mut line = json!({
        "ordinal": truth.ordinal,
        "post_id": truth.post_id.to_string(),
        "created_ms": truth.created.0,
        "published_ms": truth.published.0,
        "rules": rules,
        "sha256": hex(&Sha256::digest(&truth.json)),
    });
    if payload {
        line["json"] = String::from_utf8_lossy(&truth.json).into();
    }
    line
}

fn state(handle: &SimulatorHandle) -> Value {
    let rules: Vec<Value> = handle
        .rules()
        .iter()
        .map(|rule| json!({"id": rule.id.to_string(), "value": rule.value, "tag": rule.tag.as_deref()}))
        .collect();
    let (requests, rule_requests) = (handle.requests(), handle.rule_requests());
    json!({
        "counters": handle.counters(),
        "connections": handle.connections(),
        "truth": {"posts": handle.truth_len(), "dropped": handle.truth_dropped()},
        "rules": rules,
        "rule_requests": rule_requests[rule_requests.len().saturating_sub(REQUESTS_SHOWN)..],
        "requests": requests[requests.len().saturating_sub(REQUESTS_SHOWN)..],
    })
}

fn done(body: Value) -> Result<ErrorResponse, String> {
    Ok(ErrorResponse::json(200, &body.to_string()))
}

fn value(query: &str, key: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
}

/// A number or flag as it stands, a word as one of an enum.
fn parsed<T: serde::de::DeserializeOwned>(query: &str, key: &str) -> Result<T, String> {
    let text = value(query, key).ok_or(format!("{key} is missing"))?;
    let word = || serde_json::from_value(Value::String(text.clone()));
    serde_json::from_str(&text).or_else(|_| word()).map_err(|_| format!("{key} cannot be {text:?}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
