//! What one would write first: a tokio broadcast channel, and tonic's own server and codec, one message per post.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;

use powerstream_gateway::proto::stream_service_server::{StreamService, StreamServiceServer};
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{
    CaughtUp, Event, EventBatch, GetStreamRequest, GetStreamResponse, ListStreamsRequest, ListStreamsResponse,
    ListTagsRequest, ListTagsResponse, MatchedRule, Origin, Phase, ResolvePositionRequest, ResolvePositionResponse,
    SubscribeRequest, SubscribeResponse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

use super::text;
use crate::wire::Fault;
use crate::wire::grpc::Codec;

/// Places of the channel: twice the player's window, so that no subscriber lags.
const CHANNEL: usize = 4_096;
const FEED_BYTES: usize = 64 << 10;

struct Stock {
    posts: broadcast::Sender<SubscribeResponse>,
}

type Frames = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

#[tonic::async_trait]
impl StreamService for Stock {
    type SubscribeStream = Frames;

    async fn subscribe(&self, _request: Request<SubscribeRequest>) -> Result<Response<Frames>, Status> {
        let caught_up = SubscribeResponse { frame: Some(Frame::CaughtUp(CaughtUp::default())), ..Default::default() };
        let posts = BroadcastStream::new(self.posts.subscribe())
            .map(|post| post.map_err(|lagged| Status::data_loss(lagged.to_string())));
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(caught_up)).chain(posts))))
    }

    async fn list_streams(&self, _: Request<ListStreamsRequest>) -> Result<Response<ListStreamsResponse>, Status> {
        Err(Status::unimplemented("this server only fans out"))
    }

    async fn get_stream(&self, _: Request<GetStreamRequest>) -> Result<Response<GetStreamResponse>, Status> {
        Err(Status::unimplemented("this server only fans out"))
    }

    async fn list_tags(&self, _: Request<ListTagsRequest>) -> Result<Response<ListTagsResponse>, Status> {
        Err(Status::unimplemented("this server only fans out"))
    }

    async fn resolve_position(
        &self,
        _request: Request<ResolvePositionRequest>,
    ) -> Result<Response<ResolvePositionResponse>, Status> {
        Err(Status::unimplemented("this server only fans out"))
    }
}

/// Serves until the feed ends.
pub fn serve(feed: u16, subscribers: u16, codec: Option<Codec>) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(text)?;
    runtime.block_on(async {
        let feed = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, feed)).await.map_err(text)?;
        let posts = fan_out(subscribers, codec);
        let (socket, _) = feed.accept().await.map_err(text)?;
        // On a worker, as everything else: block_on would be an additional thread.
        tokio::spawn(take(socket, posts)).await.map_err(text)?.map_err(text)
    })
}

/// Sends all subscribers what comes into the channel.
pub fn fan_out(subscribers: u16, codec: Option<Codec>) -> broadcast::Sender<SubscribeResponse> {
    let (posts, _) = broadcast::channel(CHANNEL);
    let mut service = StreamServiceServer::new(Stock { posts: posts.clone() });
    if let Some(codec) = codec {
        let encoding = match codec {
            Codec::Gzip => CompressionEncoding::Gzip,
            Codec::Zstd => CompressionEncoding::Zstd,
        };
        service = service.send_compressed(encoding).accept_compressed(encoding);
    }
    let server = tonic::transport::Server::builder()
        .add_service(service)
        .serve(SocketAddr::from((Ipv4Addr::LOCALHOST, subscribers)));
    tokio::spawn(server);
    posts
}

async fn take(socket: tokio::net::TcpStream, posts: broadcast::Sender<SubscribeResponse>) -> std::io::Result<()> {
    let mut feed = BufReader::with_capacity(FEED_BYTES, socket);
    let mut count = 0;
    loop {
        let length = feed.read_u32().await?;
        if length == 0 {
            feed.write_u64(count).await?;
            continue;
        }
        let mut json = vec![0; length as usize];
        feed.read_exact(&mut json).await?;
        count += 1;
        // There may be no subscriber: that is what the column without subscribers measures.
        posts.send(response(count, String::from_utf8_lossy(&json).into_owned())).ok();
    }
}

/// A post as the gateway would send it, alone in its batch.
pub fn response(sequence: u64, json: String) -> SubscribeResponse {
    let tag = "customer-07".to_owned();
    let event = Event {
        sequence,
        post_id: 2_000_000_000_000_000_000 + sequence,
        tags: vec![tag.clone()],
        rules: vec![MatchedRule { id: 1_900_000_000_000_000_007, tag: Some(tag) }],
        event_time_ms: 1_700_000_000_000,
        received_time_ms: 1_700_000_000_000,
        origin: Origin::Live.into(),
        json,
        ..Event::default()
    };
    let batch = EventBatch { events: vec![event], phase: Phase::Live.into(), ..EventBatch::default() };
    SubscribeResponse { frame: Some(Frame::EventBatch(batch)), ..SubscribeResponse::default() }
}
