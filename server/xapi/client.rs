use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION};
use reqwest::{Certificate, Proxy, redirect};
use thiserror::Error as ThisError;
use url::{Host, Url};

use super::coding::{Coding, decoded};
use super::redact::shown;
use super::{BodyError, BodyErrorKind, ErrorKind, Headers, Response, StreamRequest, Transport, TransportError};
use crate::clock::Clock;
use crate::secret::Secret;
use crate::state_file;

/// Sent with every request; X asks for a version in it (F-HD).
const USER_AGENT: &str = concat!("powerstream-gateway/", env!("CARGO_PKG_VERSION"));

/// Interval of TCP keepalive probes, so that a vanished peer is detected independently of the stream's watchdog.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// Settings of the production transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Maximum duration of a connect, including TLS.
    pub connect_timeout: Duration,
    /// Proxy for https, used as a tunnel. Proxies of the environment are ignored.
    pub proxy: Option<Url>,
    /// PEM file with certificate authorities to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

/// The transport cannot be created; the configuration has to change.
#[derive(Debug, ThisError)]
pub enum ClientError {
    /// The file cannot be read, or contains no certificates.
    #[error("failed to load CA file {path}: {detail}")]
    CaFile {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        detail: String,
    },
    /// The proxy URL is not usable.
    #[error("invalid proxy: expected an http or https URL without user name and password")]
    Proxy,
    /// The HTTP client cannot be created.
    #[error("failed to create HTTP client: {0}")]
    Build(String),
}

/// The production transport: HTTP/1.1 to X.
#[derive(Clone)]
pub struct Client(reqwest::Client);

impl Client {
    /// Creates the transport without connecting.
    pub fn new(options: &ClientOptions, clock: &Clock) -> Result<Self, ClientError> {
        // The kernel counts in whole seconds.
        let keepalive = clock.real(TCP_KEEPALIVE).max(Duration::from_secs(1));
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            // X documents HTTP/1.1; its streams end differently over HTTP/2 (twitter-api-java-sdk#37).
            .http1_only()
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(clock.real(options.connect_timeout))
            .tcp_keepalive(keepalive)
            .tcp_keepalive_interval(keepalive)
            .tcp_nodelay(true)
            // X frees the connection slot only when the socket is closed, so idle sockets are not pooled.
            .pool_max_idle_per_host(0);
        if let Some(url) = &options.proxy {
            builder = builder.proxy(proxy(url)?);
        }
        if let Some(path) = &options.ca_file {
            builder = builder.tls_certs_merge(certificates(path)?);
        }
        builder.build().map(Self).map_err(|error| ClientError::Build(error_chain(&error, None)))
    }
}

impl Transport for Client {
    fn connect<'a>(&'a self, request: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>> {
        async move {
            let url = request.url();
            check_origin(&url)?;
            let asked = self.0.get(url).header(ACCEPT_ENCODING, "gzip");
            let response = asked.header(AUTHORIZATION, authorization(&request.bearer)?).send().await;
            response.map(into_response).map_err(|error| failure(error, &request.bearer))
        }
        .boxed()
    }
}

fn into_response(response: reqwest::Response) -> Response {
    let status = response.status().as_u16();
    let (headers, coding) = (Headers::read(response.headers()), Coding::read(response.headers()));
    let body = response.bytes_stream().map_err(|error| {
        let garbled = |kind: &io::ErrorKind| matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput);
        let kind = if io_kinds(&error).iter().any(garbled) { BodyErrorKind::Undecodable } else { BodyErrorKind::Cut };
        BodyError { kind, detail: error_chain(&error.without_url(), None) }
    });
    Response { status, headers, body: decoded(coding, body) }
}

fn authorization(bearer: &Secret) -> Result<HeaderValue, TransportError> {
    let not_allowed = |_| TransportError {
        kind: ErrorKind::NotAllowed,
        detail: "bearer token contains characters that are not allowed in a header".to_owned(),
    };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", bearer.expose())).map_err(not_allowed)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Refuses an origin to which the bearer would travel unencrypted, except loopback.
fn check_origin(url: &Url) -> Result<(), TransportError> {
    let detail = match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => {
            "base_url must not contain a user name or password"
        }
        "https" => return Ok(()),
        "http" if is_loopback(url) => return Ok(()),
        "http" => "base_url must be https; http is for loopback only",
        _ => "base_url must be an https URL",
    };
    Err(TransportError { kind: ErrorKind::NotAllowed, detail: detail.to_owned() })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn proxy(url: &Url) -> Result<Proxy, ClientError> {
    let plain = url.username().is_empty() && url.password().is_none();
    if !plain || !matches!(url.scheme(), "http" | "https") {
        return Err(ClientError::Proxy);
    }
    // For https only: the proxy sees a tunnel. Plain http is allowed to loopback only and never uses the proxy.
    Proxy::https(url.clone()).map_err(|_| ClientError::Proxy)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let refuse = |detail: String| ClientError::CaFile { path: path.to_owned(), detail };
    // Reading a FIFO would block the start, and a device would fill the memory.
    let pem = state_file::read(path).map_err(|error| match error.raw_os_error() {
        Some(_) => refuse(error.kind().to_string()),
        None => refuse(error.to_string()),
    })?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| refuse(error_chain(&error, None)))?;
    if found.is_empty() {
        return Err(refuse("file contains no certificate".to_owned()));
    }
    Ok(found)
}

fn failure(error: reqwest::Error, bearer: &Secret) -> TransportError {
    let kind = kind(&error);
    TransportError { kind, detail: error_chain(&error.without_url(), Some(bearer)) }
}

fn kind(error: &reqwest::Error) -> ErrorKind {
    let text = error_chain(error, None).to_ascii_lowercase();
    if error.is_dns() {
        ErrorKind::Dns
    } else if error.is_timeout() {
        ErrorKind::Timeout
    } else if error.is_connect() {
        let tls = io_kinds(error).contains(&io::ErrorKind::InvalidData)
            || ["certificate", "tls", "handshake"].iter().any(|word| text.contains(word));
        if tls { ErrorKind::Tls } else { ErrorKind::Connect }
    } else if error.is_builder() {
        ErrorKind::NotAllowed
    } else if !io_kinds(error).is_empty() || text.contains("closed before message completed") {
        ErrorKind::Reset
    } else {
        ErrorKind::Protocol
    }
}

/// Returns the kinds of I/O errors among the sources, outermost first; an error that wraps another one yields both.
fn io_kinds(error: &reqwest::Error) -> Vec<io::ErrorKind> {
    let mut kinds = Vec::new();
    let mut next = error.source();
    while let Some(source) = next {
        next = source.source();
        if let Some(error) = source.downcast_ref::<io::Error>() {
            kinds.push(error.kind());
            next = error.get_ref().map(|inner| inner as &(dyn StdError + 'static));
        }
    }
    kinds
}

/// Formats an error and its sources as one printable line, each part once, without the bearer.
fn error_chain(error: &dyn StdError, bearer: Option<&Secret>) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        next = source.source();
    }
    shown(&line, bearer.map(Secret::expose).unwrap_or_default())
}

#[cfg(test)]
mod tests;
