//! Responses of the simulator.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{DATE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::faults::{DateHeader, ErrorResponse};
use super::state::SimulatorState;

/// The body of an answer.
pub(super) type SimulatorBody = UnsyncBoxBody<Bytes, Infallible>;

/// Builds a complete response.
pub(super) fn refusal(error: ErrorResponse) -> Response<SimulatorBody> {
    let mut response = Response::new(Full::new(Bytes::from(error.body)).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in error.headers {
        put(&mut response, &name, &value);
    }
    response
}

/// hyper would put the system's time, which is not X's where the clock runs faster.
pub(super) fn date(state: &SimulatorState, response: &mut Response<SimulatorBody>) {
    let header = state.faults.date();
    if header != DateHeader::Right {
        state.count(|counters| counters.dates_wrong += 1);
    }
    if let Some(text) = header.text(state.now()) {
        put(response, DATE.as_str(), &text);
    }
}

pub(super) fn put(response: &mut Response<SimulatorBody>, name: &str, value: &str) {
    // What a caller gives as a header and is none, is left out.
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        response.headers_mut().insert(name, value);
    }
}

pub(super) fn too_large() -> Response<SimulatorBody> {
    let mut response = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}
