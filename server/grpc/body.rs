//! Bodies of responses: the frames of a session as messages, or whatever tonic answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tonic::Status;

use super::message::Message;

/// The messages of a session, as its connection asks for them.
pub type Messages = Pin<Box<dyn Stream<Item = Result<Message, Status>> + Send>>;

/// The body of a response.
pub enum ResponseBody {
    /// A session's.
    Session(Messages),
    /// Any other.
    Other(tonic::body::Body),
}

/// A session that a response carries beside a body of tonic's that is empty. tonic would copy each event for each session.
#[derive(Clone)]
pub struct Opened(Arc<Mutex<Option<Messages>>>);

impl Opened {
    /// Carries these messages.
    pub fn new(messages: Messages) -> Self {
        Self(Arc::new(Mutex::new(Some(messages))))
    }
}

impl ResponseBody {
    /// Puts the session that a response carries into it.
    pub fn install(mut response: http::Response<tonic::body::Body>) -> http::Response<Self> {
        let messages = response.extensions_mut().remove::<Opened>().and_then(|opened| opened.0.lock().take());
        response.map(|body| match messages {
            Some(messages) => Self::Session(messages),
            None => Self::Other(body),
        })
    }
}

impl Body for ResponseBody {
    type Data = Message;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut *self {
            Self::Session(messages) => messages.as_mut().poll_next(cx).map(|next| match next? {
                Ok(message) => Some(Ok(Frame::data(message))),
                Err(status) => Some(trailers(&status)),
            }),
            Self::Other(body) => {
                let poll = Pin::new(body).poll_frame(cx);
                poll.map(|frame| {
                    frame.map(|frame| frame.map(|frame| frame.map_data(|data: Bytes| Message::from(data))))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Session(_) => false,
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Session(_) => SizeHint::default(),
            Self::Other(body) => body.size_hint(),
        }
    }
}

/// How a stream ends: its status, in trailers.
fn trailers(status: &Status) -> Result<Frame<Message>, Status> {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers)?;
    Ok(Frame::trailers(headers))
}
