//! Requests about rules: one request and its whole answer, of bounded size.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request};
use http_body_util::Full;

use super::{Client, check_origin, exchange, failure, head, into_response};
use crate::xapi::{Response, RuleAnswer, RuleFailure, RuleRequest, RuleTransport, TransportError};

impl RuleTransport for Client {
    fn request<'a>(&'a self, request: &'a RuleRequest) -> BoxFuture<'a, Result<RuleAnswer, RuleFailure>> {
        self.send_rules(request).boxed()
    }
}

impl Client {
    async fn send_rules(&self, request: &RuleRequest) -> Result<RuleAnswer, RuleFailure> {
        let not_sent = |error: TransportError| RuleFailure::NotSent(error.to_string());
        let url = request.url();
        check_origin(&url).map_err(not_sent)?;
        let head = rule_head(request).map_err(not_sent)?;
        let socket = self.open(&url).await.map_err(not_sent)?;
        let response = exchange::exchange(socket, head)
            .await
            .map_err(|error| RuleFailure::Unanswered(failure::exchange_failure(&error, &request.bearer).to_string()))?;
        Ok(read_answer(into_response(response), request).await)
    }
}

fn rule_head(request: &RuleRequest) -> Result<Request<Full<Bytes>>, TransportError> {
    let mut sent = head(&request.url(), &request.bearer)?;
    *sent.method_mut() = request.method();
    if let Some(body) = request.body() {
        sent.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *sent.body_mut() = Full::new(Bytes::from(body));
    }
    Ok(sent)
}

/// Reads the answer. A body that is too long, or breaks off, counts as none: the status still has a meaning.
async fn read_answer(response: Response, request: &RuleRequest) -> RuleAnswer {
    let Response { status, headers, mut body } = response;
    let (mut bytes, mut whole) = (Vec::new(), true);
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) if bytes.len() + piece.len() <= request.response_bytes_max => bytes.extend_from_slice(&piece),
            Ok(_) | Err(_) => {
                whole = false;
                break;
            }
        }
    }
    RuleAnswer::read(status, headers, whole.then_some(bytes.as_slice()), request.bearer.expose())
}

#[cfg(test)]
mod tests;
