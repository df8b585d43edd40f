use std::sync::Arc;
use std::time::Duration;

use prost_types::Timestamp;
use thiserror::Error;
use tonic::transport::Endpoint;

use crate::channel::{endpoint, is_loopback};
use crate::consumer::Consumer;
use crate::credential::CredentialFiles;
use crate::cursor_file::CursorFile;
use crate::delivery::ResumeToken;
use crate::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, STOP_WAIT_MAX, UNSOUND_MAX};
use crate::proto::subscribe_request::Start as WireStart;
use crate::proto::{Earliest, Latest, ResumePolicy, SubscribeRequest, TagFilter};
use crate::wire_time::to_wire;

/// Heartbeat interval that a consumer requests.
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(10);

/// Start position of a consumer that has no token.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// Only new records.
    Latest,
    /// The oldest record of the log.
    Earliest,
    /// After the position of this token.
    Token(ResumeToken),
    /// The first record received at or after this time.
    Time(Timestamp),
    /// The first record received at or after now minus this duration.
    Lookback(Duration),
}

impl Start {
    fn wire(self) -> WireStart {
        match self {
            Self::Latest => WireStart::Latest(Latest {}),
            Self::Earliest => WireStart::Earliest(Earliest {}),
            Self::Token(token) => WireStart::ResumeToken(token.as_str().into()),
            Self::Time(time) => WireStart::StartTime(time),
            Self::Lookback(lookback) => WireStart::Lookback(to_wire(lookback)),
        }
    }
}

/// An invalid option of a consumer.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OptionError {
    /// The address is not a URL of a gateway.
    #[error("invalid address {0:?}: expected http://host:port or https://host:port")]
    Address(String),
    /// A bearer token would be sent over the network without TLS.
    #[error("a credential is sent only over TLS or to a loopback host: use https://, or send no bearer token to {0}")]
    Plaintext(String),
}

/// What a consumer was built with.
pub(crate) struct Settings {
    pub(crate) endpoint: Endpoint,
    pub(crate) credentials: CredentialFiles,
    pub(crate) violations_max: u32,
    pub(crate) heartbeat: Duration,
    pub(crate) handler_failures_max: Option<u32>,
    pub(crate) stop_wait_max: Duration,
    /// The request without a token.
    request: SubscribeRequest,
}

impl Settings {
    /// Returns the request of the next session.
    pub(crate) fn request(&self, token: Option<&ResumeToken>) -> SubscribeRequest {
        let start = token.map(|token| WireStart::ResumeToken(token.as_str().into()));
        SubscribeRequest { start: start.or(self.request.start.clone()), ..self.request.clone() }
    }
}

/// Options of a [`Consumer`].
#[must_use]
pub struct ConsumerBuilder {
    address: String,
    credentials: CredentialFiles,
    allows_plaintext: bool,
    violations_max: u32,
    heartbeat: Duration,
    handler_failures_max: Option<u32>,
    stop_wait_max: Duration,
    token: Option<ResumeToken>,
    cursor: Option<CursorFile>,
    request: SubscribeRequest,
}

impl ConsumerBuilder {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            credentials: CredentialFiles::default(),
            allows_plaintext: false,
            violations_max: UNSOUND_MAX,
            heartbeat: HEARTBEAT_DEFAULT,
            handler_failures_max: None,
            stop_wait_max: STOP_WAIT_MAX,
            token: None,
            cursor: None,
            request: SubscribeRequest {
                consumer: "consumer".into(),
                filter: Some(TagFilter::default()),
                start: Some(Start::Latest.wire()),
                resume_policy: ResumePolicy::Fail.into(),
                max_batch_bytes: BATCH_BYTES_MAX,
                max_batch_events: BATCH_EVENTS_MAX,
                ..SubscribeRequest::default()
            },
        }
    }

    /// Files of the credential. Default: none.
    pub fn credentials(mut self, files: CredentialFiles) -> Self {
        self.credentials = files;
        self
    }

    /// Sends the bearer token without TLS to hosts that are not loopback, as where a service mesh encrypts the connection.
    pub fn allow_plaintext_credentials(mut self) -> Self {
        self.allows_plaintext = true;
        self
    }

    /// Account to read. Default: the only account of the gateway, or its `default_account`.
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.request.account = account.into();
        self
    }

    /// Name in the logs and metrics of the gateway. Default: `consumer`.
    pub fn consumer(mut self, name: impl Into<String>) -> Self {
        self.request.consumer = name.into();
        self
    }

    /// Only events that match this filter. Default: all events.
    pub fn filter(mut self, filter: TagFilter) -> Self {
        self.request.filter = Some(filter);
        self
    }

    /// Only events with at least one of these tags, where a trailing `*` makes a prefix. The same as [`Self::filter`] with
    /// `any_of`.
    pub fn any_of<T: Into<String>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        self.filter(TagFilter { any_of: tags.into_iter().map(Into::into).collect(), ..TagFilter::default() })
    }

    /// Start position if there is no token. Default: [`Start::Latest`].
    pub fn start(mut self, start: Start) -> Self {
        self.request.start = Some(start.wire());
        self
    }

    /// Behavior if the position is too old. Default: [`ResumePolicy::Fail`].
    pub fn resume_policy(mut self, policy: ResumePolicy) -> Self {
        self.request.resume_policy = policy.into();
        self
    }

    /// Heartbeat interval, 1 to 60 s. A session that is silent for three of them is replaced. Default: 10 s.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// Maximum events of a batch. Default: 10,000.
    pub fn batch_events_max(mut self, events: u32) -> Self {
        self.request.max_batch_events = events;
        self
    }

    /// Contract violations after which the consumer ends; before, it reconnects, and receives the missing events. Default:
    /// [`UNSOUND_MAX`].
    pub fn violations_max(mut self, violations: u32) -> Self {
        self.violations_max = violations;
        self
    }

    /// Failures of the handler in succession after which [`Consumer::run`] returns its error. Default: no limit.
    pub fn handler_failures_max(mut self, failures: u32) -> Self {
        self.handler_failures_max = Some(failures);
        self
    }

    /// Time in which the handler of [`Consumer::run`] must finish the frame in hand after a stop. Default: [`STOP_WAIT_MAX`].
    pub fn stop_wait_max(mut self, wait: Duration) -> Self {
        self.stop_wait_max = wait;
        self
    }

    /// Resumes after the position of this token, for a consumer that stores its token itself.
    pub fn resume_from(mut self, token: ResumeToken) -> Self {
        self.token = Some(token);
        self
    }

    /// File in which [`Consumer::commit`] stores the token. Its token replaces the start position.
    pub fn cursor_file(mut self, file: CursorFile) -> Self {
        self.cursor = Some(file);
        self
    }

    /// Returns the consumer; [`Consumer::next`] connects it.
    ///
    /// # Errors
    /// Returns an error if the address is invalid, or a credential would be sent over the network without TLS.
    pub fn build(mut self) -> Result<Consumer, OptionError> {
        let endpoint = endpoint(&self.address)?;
        let uri = endpoint.uri();
        let is_protected = uri.scheme_str() == Some("https") || is_loopback(uri.host().unwrap_or_default());
        if self.credentials.bearer.is_some() && !is_protected && !self.allows_plaintext {
            return Err(OptionError::Plaintext(self.address));
        }
        self.request.heartbeat_interval = Some(to_wire(self.heartbeat));
        let settings = Settings {
            endpoint,
            credentials: self.credentials,
            violations_max: self.violations_max,
            heartbeat: self.heartbeat,
            handler_failures_max: self.handler_failures_max,
            stop_wait_max: self.stop_wait_max,
            request: self.request,
        };
        let stored = self.cursor.as_ref().and_then(CursorFile::token).cloned();
        Ok(Consumer::new(Arc::new(settings), stored.or(self.token), self.cursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_without_tls_goes_to_loopback_only() {
        let build = |address: &str, bearer: bool| {
            let files =
                CredentialFiles { bearer: bearer.then(|| "/nowhere/bearer".into()), ..CredentialFiles::default() };
            Consumer::builder(address).credentials(files)
        };
        for address in ["http://127.0.0.9:1", "http://localhost:1", "http://[::1]:1", "https://gateway:1"] {
            assert!(build(address, true).build().is_ok(), "{address}");
        }
        for address in ["http://gateway:1", "http://127.evil:1"] {
            assert!(matches!(build(address, true).build(), Err(OptionError::Plaintext(_))), "{address}");
            assert!(build(address, true).allow_plaintext_credentials().build().is_ok(), "{address}");
            assert!(build(address, false).build().is_ok(), "{address}");
        }
    }

    #[test]
    fn address_without_scheme_is_rejected() {
        for address in ["127.0.0.1:50051", "ftp://127.0.0.1:1", "", "http://", "https://"] {
            assert!(matches!(Consumer::builder(address).build(), Err(OptionError::Address(_))), "{address}");
        }
    }

    #[test]
    fn cursor_file_replaces_start_position() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cursor");
        let build = |cursor| {
            let builder = Consumer::builder("http://gateway:1").start(Start::Earliest).resume_from("own".into());
            builder.cursor_file(cursor).build().expect("valid")
        };
        assert_eq!(build(CursorFile::open(&path).expect("opened")).token().map(ResumeToken::as_str), Some("own"));
        std::fs::write(&path, "stored\n").expect("written");
        assert_eq!(build(CursorFile::open(&path).expect("opened")).token().map(ResumeToken::as_str), Some("stored"));
    }
}
