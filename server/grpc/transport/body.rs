//! Bodies of responses: the frames of a session as messages, or whatever tonic answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tonic::Status;

use super::response_budget::{Exchange, ResponseBudgetExceeded};
use crate::grpc::encode::message::EncodedMessage;
use crate::grpc::metrics::HandledCall;
use crate::grpc::status;

/// The messages of a session, as its connection asks for them.
pub type SessionMessages = Pin<Box<dyn Stream<Item = Result<EncodedMessage, Status>> + Send>>;

/// The body of a response.
pub struct ResponseBody {
    content: Content,
    /// Counted when the status is sent.
    call: HandledCall,
}

enum Content {
    /// A session's.
    Session(SessionMessages),
    /// Any other.
    Other(ChargedBody),
}

/// A body whose bytes are charged until they are sent.
pub struct ChargedBody {
    body: tonic::body::Body,
    exchange: Option<Arc<Exchange>>,
}

/// A session that a response carries in addition to an empty body of tonic. tonic would copy each event for each session.
#[derive(Clone)]
pub struct SessionBody(Arc<Mutex<Option<SessionMessages>>>);

impl SessionBody {
    /// Carries these messages.
    pub fn new(messages: SessionMessages) -> Self {
        Self(Arc::new(Mutex::new(Some(messages))))
    }
}

impl ResponseBody {
    /// Puts the session that a response carries into it; any other is charged to its exchange.
    pub fn install(
        mut response: http::Response<tonic::body::Body>,
        exchange: Option<Arc<Exchange>>,
        mut call: HandledCall,
    ) -> http::Response<Self> {
        if let Some(status) = Status::from_header_map(response.headers()) {
            call.end(status.code());
        }
        let messages = response.extensions_mut().remove::<SessionBody>().and_then(|opened| opened.0.lock().take());
        response.map(|body| {
            let content = match messages {
                Some(messages) => Content::Session(messages),
                None => Content::Other(ChargedBody { body, exchange }),
            };
            Self { content, call }
        })
    }
}

/// The body of a request, which ends with its exchange.
pub struct RequestBody {
    body: Option<Incoming>,
    exchange: Arc<Exchange>,
}

impl RequestBody {
    /// A request of this exchange.
    pub fn new(body: Incoming, exchange: Arc<Exchange>) -> Self {
        Self { body: Some(body), exchange }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.exchange.poll_request_ended(cx) {
            self.body = None;
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            None => Poll::Ready(Some(Err("the exchange was ended".into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl ChargedBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<EncodedMessage>, Status>>> {
        if let Some(exchange) = &self.exchange {
            // Before the next frame, and the end: so that what waits can be withdrawn until it is read.
            ready!(exchange.poll_sent());
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()? else {
            return Poll::Ready(None);
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => return Poll::Ready(Some(Ok(other.map_data(EncodedMessage::from)))),
        };
        let charge = match &self.exchange {
            Some(exchange) if !data.is_empty() => exchange.charge(data.len()).map(Some),
            _ => Ok(None),
        };
        Poll::Ready(Some(match charge {
            Ok(charge) => Ok(Frame::data(EncodedMessage::charged(data, charge))),
            Err(ResponseBudgetExceeded) => {
                self.body = tonic::body::Body::empty();
                trailers(&status::response_limit())
            }
        }))
    }
}

impl Body for ResponseBody {
    type Data = EncodedMessage;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = match &mut self.content {
            Content::Session(messages) => messages.as_mut().poll_next(cx).map(|next| match next? {
                Ok(message) => Some(Ok(Frame::data(message))),
                Err(status) => Some(trailers(&status)),
            }),
            Content::Other(metered) => metered.poll_frame(cx),
        };
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(status) = frame.trailers_ref().and_then(Status::from_header_map)
        {
            self.call.end(status.code());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Session(_) => false,
            Content::Other(metered) => metered.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Session(_) => SizeHint::default(),
            Content::Other(metered) => metered.body.size_hint(),
        }
    }
}

/// How a stream ends: its status, in trailers.
fn trailers(status: &Status) -> Result<Frame<EncodedMessage>, Status> {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers)?;
    Ok(Frame::trailers(headers))
}
