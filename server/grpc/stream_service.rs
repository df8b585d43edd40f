use std::sync::Arc;

use bytes::Buf;
use futures::stream::Empty;
use futures::{FutureExt, Stream};
use prometheus_client::metrics::counter::Counter;
use rand::RngExt;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::blocking::Blocking;
use super::call_context::CallContext;
use super::encode::batch;
use super::encode::compress::MessageEncoding;
use super::encode::message::EncodedMessage;
use super::paging::PageRequest;
use super::session_audit::SessionAudit;
use super::start_resolution::{TAG_WARNINGS_MAX, resolve_start};
use super::subscribe_options::{filter, parse_subscribe};
use super::transport::body::SessionBody;
use super::transport::response_budget::Exchange;
use super::{Compression, convert, status};
use crate::access::{AccessControl, Credential, Grant, Right};
use crate::backoff::client_retry_delay;
use crate::gateway::{Account, FindError, Gateway};
use crate::hub::filter::{Filter, FilterSummary};
use crate::hub::session::{DeliveryOptions, Session, SessionParams, TimedPosition, Warning, WarningCode};
use crate::hub::start::{self, StartError};
use crate::hub::{Hub, SessionGuard, SessionInfo};
use crate::model::{AccountName, PostId, Sequence};
use crate::proto::stream_service_server::StreamService;
use crate::proto::{
    self, GetStreamRequest, GetStreamResponse, ListStreamsRequest, ListStreamsResponse, ListTagsRequest,
    ListTagsResponse, ResolvePositionRequest, ResolvePositionResponse, SubscribeRequest, SubscribeResponse,
    resolve_position_request,
};

/// Name of the method in audit lines.
const SUBSCRIBE: &str = "Subscribe";

/// StreamService over the gateway's accounts.
pub struct StreamApi {
    gateway: Arc<Gateway>,
    access: Arc<AccessControl>,
    compression: Compression,
    blocking: Blocking,
}

impl StreamApi {
    /// Serves the accounts of this gateway.
    pub fn new(
        gateway: Arc<Gateway>,
        access: Arc<AccessControl>,
        compression: Compression,
        blocking: Blocking,
    ) -> Self {
        Self { gateway, access, compression, blocking }
    }

    fn register_session(
        &self,
        hub: &Hub,
        consumer: &str,
        peer: String,
        (filter, credential): (FilterSummary, &Credential),
    ) -> Result<(SessionGuard, String), Status> {
        let id = format!("{:016x}", rand::rng().random::<u64>());
        let (principal, expires) = (credential.principal.clone(), credential.not_after);
        if let Some(remaining) = self.access.refusals().remaining(hub.account(), &principal, consumer) {
            return Err(status::session_refused(remaining));
        }
        let info = SessionInfo {
            id: id.clone(),
            consumer: consumer.to_owned(),
            peer,
            since: hub.clock().now(),
            principal,
            credential: credential.to_string(),
            expires,
            filter,
        };
        if hub.registry().closing().borrow().is_some() {
            return Err(status::draining(client_retry_delay()));
        }
        let registered = hub.register(info);
        let guard = registered.map_err(|full| status::session_limit(&full, client_retry_delay()))?;
        if let Some(exchange) = Exchange::current().map(|own| Arc::downgrade(&own)) {
            guard.entry().on_abort(move || exchange.upgrade().iter().for_each(|own| own.abort()));
        }
        Ok((guard, id))
    }
}

#[tonic::async_trait]
impl StreamService for StreamApi {
    /// Frames bypass tonic: see [`SessionBody`].
    type SubscribeStream = Empty<Result<SubscribeResponse, Status>>;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let peer = request.remote_addr().map(|peer| peer.to_string()).unwrap_or_default();
        let context = CallContext::of(&request)?;
        let caller = context.budget_key(&request);
        let (account, grant) = context.account(&self.gateway, &request.get_ref().account)?;
        let hub = account.hub;
        let asked = filter(request.get_ref().filter.as_ref());
        let (filter, narrowed) =
            Filter::within(&asked, grant.tags.clone()).map_err(|error| status::filter_refused(&error))?;
        let headers: &MetadataMap = request.metadata();
        let mut ask = parse_subscribe(request.get_ref(), headers)?;
        let access = context.open_session(&self.access, hub.account(), grant.tags, client_retry_delay())?;
        let sent_bytes = hub.metrics().sent_bytes(access.label());
        let credential = &context.caller()?.credential;
        let (guard, session_id) =
            self.register_session(&hub, &ask.consumer, peer.clone(), (filter.summary(), credential))?;
        let span = tracing::info_span!(
            "subscribe", account = %hub.account(), session = session_id, principal = context.principal(),
            consumer = ask.consumer, peer,
        );
        let member = hub.enter(filter).map_err(|limit| status::filter_limit(&limit, client_retry_delay()))?;
        let (resolved, advice) = resolve_start(&self.blocking, &hub, &ask, (member.filter().clone(), caller), &context)
            .instrument(span.clone())
            .await?;
        span.in_scope(|| {
            tracing::info!(outcome = ?resolved.outcome, cursor = resolved.cursor, "session started");
        });
        let call = context.audited(request.remote_addr().map(|peer| peer.ip()), SUBSCRIBE);
        self.access.audit().log_session_start(call, hub.account().as_str(), &session_id, member.filter().fingerprint());
        let audit = SessionAudit::new(&self.access, hub.account(), &guard);
        let mut warnings = std::mem::take(&mut ask.warnings);
        warnings.extend(narrowed.iter().take(TAG_WARNINGS_MAX).map(|term| narrowed_warning(term)));
        warnings.extend(advice);
        let pace = DeliveryOptions {
            batch_events_max: ask.batch_events_max,
            batch_bytes_max: ask.batch_bytes_max,
            batch_delay_max: ask.batch_delay_max,
            heartbeat: ask.heartbeat,
            deadline: ask.timeout.map(|timeout| hub.clock().moment().plus(timeout)),
        };
        let opening = SessionParams {
            guard,
            member,
            pace,
            resolved,
            session_id,
            consumer: ask.consumer,
            warnings,
            access: Some(access),
        };
        let subscription = Session::open(hub, opening);
        let encoding = MessageEncoding::negotiate(self.compression, headers.as_ref());
        let mut response = Response::new(futures::stream::empty());
        if let Some(encoding) = encoding {
            response.metadata_mut().insert("grpc-encoding", AsciiMetadataValue::from_static(encoding.name()));
        }
        let messages = messages(Box::new(subscription), (encoding, sent_bytes), audit, span);
        response.extensions_mut().insert(SessionBody::new(Box::pin(messages)));
        Ok(response)
    }

    async fn list_streams(
        &self,
        request: Request<ListStreamsRequest>,
    ) -> Result<Response<ListStreamsResponse>, Status> {
        let context = CallContext::of(&request)?;
        let request = request.into_inner();
        let page = PageRequest::parse("streams", request.page_size, &request.page_token)?;
        let gateway = self.gateway.clone();
        let list = move || {
            let names = context.readable(&gateway);
            let convert = |name: &AccountName| stream(&gateway, name, &context.grant(name));
            page.take(names.into_iter(), |name| name.to_string(), convert)
        };
        let (streams, next_page_token) = self.blocking.run(list).await?;
        Ok(Response::new(ListStreamsResponse { streams, next_page_token }))
    }

    async fn get_stream(&self, request: Request<GetStreamRequest>) -> Result<Response<GetStreamResponse>, Status> {
        let context = CallContext::of(&request)?;
        let (name, grant) = context.account_name(&self.gateway, &request.get_ref().account)?;
        Ok(Response::new(GetStreamResponse { stream: Some(stream(&self.gateway, &name, &grant)) }))
    }

    async fn list_tags(&self, request: Request<ListTagsRequest>) -> Result<Response<ListTagsResponse>, Status> {
        let context = CallContext::of(&request)?;
        let request = request.into_inner();
        let (account, grant) = context.account(&self.gateway, &request.account)?;
        let list = format!("tags:{}", account.hub.account());
        let page = PageRequest::parse(list, request.page_size, &request.page_token)?;
        // Up to 10,000 tags are sorted.
        let list = move || {
            let visible = account.tags().into_iter().filter(|own| grant.is_tag_visible(&own.tag));
            page.take(visible, |own| own.tag.to_string(), convert::tag_info)
        };
        let (tags, next_page_token) = self.blocking.run(list).await?;
        Ok(Response::new(ListTagsResponse { tags, next_page_token }))
    }

    async fn resolve_position(
        &self,
        request: Request<ResolvePositionRequest>,
    ) -> Result<Response<ResolvePositionResponse>, Status> {
        use resolve_position_request::Target;
        let context = CallContext::of(&request)?;
        let request = request.into_inner();
        let (account, grant) = context.account(&self.gateway, &request.account)?;
        let (cursor, time) = match request.target {
            None => return Err(status::start_invalid("target", "is required: a time or a post_id")),
            Some(Target::Time(time)) => {
                let time = convert::from_timestamp(&time)
                    .ok_or_else(|| status::start_invalid("time", "is not a time between 1970 and 9999"))?;
                let hub = account.hub.clone();
                let resolved = self.blocking.run(move || start::resolve_time(&hub, time));
                (resolved.await?.map_err(status::refused)?.cursor, time)
            }
            Some(Target::PostId(id)) => {
                let post = PostId(id);
                (find(&self.blocking, &account, post, grant).await?, post.created_at().unwrap_or_default())
            }
        };
        let place = TimedPosition { position: account.hub.position(cursor - 1), time: None };
        let resume_token = account.hub.token_before(cursor, time);
        Ok(Response::new(ResolvePositionResponse { resume_token, position: Some(convert::position(&place)) }))
    }
}

/// Returns the stream of a configured account, open or not. The number of sessions is only for callers with the right
/// `status`.
fn stream(gateway: &Gateway, name: &AccountName, grant: &Grant) -> proto::StreamInfo {
    match gateway.account(name.as_str()) {
        Ok(account) => {
            let mut info = account.stream_info();
            info.sessions = if grant.allows(Right::Status) { info.sessions } else { 0 };
            convert::stream_info(info)
        }
        Err(_) => convert::unopened_stream_info(name),
    }
}

/// Returns the warning of a term of which the caller may see only a part.
fn narrowed_warning(term: &str) -> Warning {
    let message = format!("the caller may see only a part of the posts that {term:?} selects");
    Warning { code: WarningCode::FilterNarrowed, message }
}

/// Finds a post. One that the caller may not see is not found, after the same work.
async fn find(blocking: &Blocking, account: &Account, post: PostId, grant: Grant) -> Result<Sequence, Status> {
    let searched = account.clone();
    let found = blocking.run(move || {
        let found = searched.find(post)?;
        Ok(found.filter(|known| grant.is_visible(&known.rules)).map(|known| known.sequence))
    });
    match found.await? {
        Ok(Some(sequence)) => {
            let extent = account.hub.reader().extent();
            if sequence >= extent.earliest {
                return Ok(sequence);
            }
            let begins = extent.earliest_received.unwrap_or_default();
            Err(status::refused(StartError::TooOld {
                oldest_token: account.hub.oldest_token(),
                oldest_time: extent.earliest_received,
                missing: begins.since(post.created_at().unwrap_or_default()),
            }))
        }
        Ok(None) => Err(status::post_unknown(post)),
        Err(FindError(error)) => {
            tracing::error!(error, "failed to search post ids");
            Err(status::not_ready("post ids cannot be searched; retry later", client_retry_delay()))
        }
    }
}

/// Returns the messages of the session as a stream that its connection polls.
fn messages(
    subscription: Box<Session>,
    sending: (Option<MessageEncoding>, Counter),
    audit: SessionAudit,
    span: tracing::Span,
) -> impl Stream<Item = Result<EncodedMessage, Status>> + Send {
    futures::stream::unfold(Some((subscription, sending, audit, span)), async |session| {
        let (mut subscription, sending, mut audit, span) = session?;
        let encoding = sending.0;
        let next = async {
            match subscription.next().await {
                Ok(frame) => {
                    let timer = subscription.delivery_timer(&frame.content);
                    Ok(batch::message(frame, encoding).await.timed(timer))
                }
                Err(end) => Err(end),
            }
        };
        // A panic of one session must not end the other streams of the connection.
        let next = std::panic::AssertUnwindSafe(next).catch_unwind().instrument(span.clone()).await;
        match next {
            Ok(Ok(message)) => {
                sending.1.inc_by(message.remaining() as u64);
                Some((Ok(message), Some((subscription, sending, audit, span))))
            }
            Ok(Err(end)) => {
                span.in_scope(|| tracing::info!(ending = ?end.ending, "session ended"));
                let ended = status::ended(end);
                audit.reason = status::reason(ended.metadata().as_ref()).to_owned();
                Some((Err(ended), None))
            }
            Err(_) => {
                span.in_scope(|| tracing::error!("session panicked"));
                let ended = status::internal(audit.session());
                audit.reason = status::reason(ended.metadata().as_ref()).to_owned();
                Some((Err(ended), None))
            }
        }
    })
}
