use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Streaming};

use crate::builder::Settings;
use crate::channel;
use crate::credential::Credential;
use crate::delivery::ResumeToken;
use crate::limits::{CONNECT_WAIT_MAX, FRAME_BYTES_MAX, HEARTBEATS_MISSED_MAX};
use crate::proto::SubscribeResponse;
use crate::proto::stream_service_client::StreamServiceClient;
use crate::proto::subscribe_response::Frame;
use crate::retry_policy::Disconnect;
use crate::validator::{ContractViolation, StreamValidator};
use crate::wire_time::positive;

/// One call of Subscribe on a channel of its own. Dropping it cancels the call and closes the channel.
pub(crate) struct Session {
    frames: Streaming<SubscribeResponse>,
    validator: StreamValidator,
    /// Time without a frame after which the session counts as dead.
    silence_max: Duration,
    /// Start of the wait for a frame: stored here so that a dropped and repeated `next` does not restart the watchdog.
    waiting_since: Option<Instant>,
    /// Delay that a Draining frame requested.
    pub(crate) reconnect_after: Option<Duration>,
}

impl Session {
    /// Connects, subscribes, and returns the first frame, which is not validated yet.
    pub(crate) async fn open(
        settings: Arc<Settings>,
        credential: Credential,
        token: Option<ResumeToken>,
    ) -> Result<(Self, SubscribeResponse), Disconnect> {
        let silence_max = settings.heartbeat.saturating_mul(HEARTBEATS_MISSED_MAX);
        let wait_max = CONNECT_WAIT_MAX.max(silence_max);
        let opening = async {
            let channel = channel::open(&settings.endpoint, &settings.credentials, &credential).await?;
            let mut client = StreamServiceClient::new(channel)
                .max_decoding_message_size(FRAME_BYTES_MAX)
                .accept_compressed(CompressionEncoding::Gzip);
            let mut request = Request::new(settings.request(token.as_ref()));
            if let Some(authorization) = credential.authorization() {
                request.metadata_mut().insert("authorization", authorization.clone());
            }
            let frames = client.subscribe(request).await?.into_inner();
            let validator = StreamValidator::default();
            let mut session = Self { frames, validator, silence_max, waiting_since: None, reconnect_after: None };
            let first = session.pull().await?;
            Ok((session, first))
        };
        tokio::time::timeout(wait_max, opening).await.map_err(|_| Disconnect::Silence(wait_max))?
    }

    /// Returns the next frame, which is not validated yet. Only the wait for it counts as silence, not the time between two
    /// calls. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<SubscribeResponse, Disconnect> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let silence_max = self.silence_max;
        let pulled = tokio::time::timeout_at(since + silence_max, self.pull()).await;
        self.waiting_since = None;
        pulled.map_err(|_| Disconnect::Silence(silence_max))?
    }

    async fn pull(&mut self) -> Result<SubscribeResponse, Disconnect> {
        self.frames.message().await?.ok_or_else(|| Disconnect::Network("the gateway ended the stream".into()))
    }

    /// Validates a frame, and applies its values for the session: heartbeat interval, reconnect delay.
    pub(crate) fn accept(&mut self, response: &SubscribeResponse) -> Result<(), ContractViolation> {
        self.validator.validate(response)?;
        match &response.frame {
            Some(Frame::SessionStart(start)) => {
                if let Some(granted) = start.heartbeat_interval.and_then(positive) {
                    self.silence_max = granted.saturating_mul(HEARTBEATS_MISSED_MAX);
                }
            }
            Some(Frame::Draining(draining)) => self.reconnect_after = draining.reconnect_after.and_then(positive),
            _ => {}
        }
        Ok(())
    }
}
