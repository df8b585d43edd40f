use std::time::Duration;

use tonic::codec::CompressionEncoding;
use tonic::{Code, Streaming};

use crate::channel::{connect, request_of};
use crate::config::Config;
use crate::credential::Credential;
use crate::limits::FRAME_BYTES_MAX;
use crate::proto::SubscribeResponse;
use crate::proto::stream_service_client::StreamServiceClient;
use crate::retry_policy::Ending;
use crate::status::ending_of;
use crate::watchdog::watched;

/// One call of Subscribe on a channel of its own. Dropping it cancels the call and closes the channel.
pub struct Session {
    frames: Streaming<SubscribeResponse>,
}

impl Session {
    /// Connects, calls, and gives the first frame, all of it within `wait_max`.
    pub async fn open(
        config: &Config,
        credential: &Credential,
        token: Option<&str>,
        wait_max: Duration,
    ) -> Result<(Self, SubscribeResponse), Ending> {
        let opening = async {
            let channel = connect(config, credential).await?;
            let mut client = StreamServiceClient::new(channel)
                .max_decoding_message_size(FRAME_BYTES_MAX)
                .accept_compressed(CompressionEncoding::Gzip);
            let response = client.subscribe(request_of(config, credential, token)).await;
            let mut session = Self { frames: response.map_err(|status| ending_of(&status))?.into_inner() };
            let first = session.pull().await?;
            Ok((session, first))
        };
        watched(opening, wait_max).await?
    }

    /// The next frame.
    pub async fn next(&mut self, silence_max: Duration) -> Result<SubscribeResponse, Ending> {
        watched(self.pull(), silence_max).await?
    }

    async fn pull(&mut self) -> Result<SubscribeResponse, Ending> {
        let ended = || Ending::Status {
            code: Code::Ok,
            text: "the gateway ended the stream".into(),
            reason: None,
            retry_delay: None,
        };
        self.frames.message().await.map_err(|status| ending_of(&status))?.ok_or_else(ended)
    }
}
