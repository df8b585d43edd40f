use std::net::IpAddr;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Uri};
use http_body_util::Full;
use url::{Host, Position, Url};

use super::coding::{Coding, decoded};
use super::{ErrorKind, Headers, Response, StreamRequest, Transport, TransportError};
use crate::clock::{Clock, Elapsed};
use crate::secret::Secret;

mod connector;
mod exchange;
mod failure;
mod options;
mod rule_exchange;

use connector::Connector;
use exchange::UpstreamBody;
pub use options::{ClientError, ClientOptions};

/// The production transport: HTTP/1.1 to X. Each request has a connection of its own: X frees the connection slot only
/// when the socket is closed.
#[derive(Clone)]
pub struct Client {
    connector: Connector,
    options: ClientOptions,
    clock: Clock,
}

impl Client {
    /// Creates the transport without connecting.
    pub fn new(options: &ClientOptions, clock: &Clock) -> Result<Self, ClientError> {
        let connector = Connector::new(options, clock)?;
        Ok(Self { connector, options: options.clone(), clock: clock.clone() })
    }

    async fn send(&self, request: &StreamRequest) -> Result<Response, TransportError> {
        let url = request.url();
        check_origin(&url)?;
        let head = head(&url, &request.bearer)?;
        let socket = self.open(&url).await?;
        let response = exchange::exchange(socket, head).await;
        response.map(into_response).map_err(|error| failure::exchange_failure(&error, &request.bearer))
    }

    /// Connects to the origin of a URL.
    async fn open(&self, url: &Url) -> Result<Box<dyn exchange::UpstreamSocket>, TransportError> {
        let timeout = self.options.connect_timeout;
        match self.clock.timeout(timeout, self.connector.connect(uri(url.as_str())?)).await {
            Ok(connected) => connected.map_err(|error| failure::connect_failure(&error)),
            Err(Elapsed) => {
                let detail = format!("no connection within {}", humantime::format_duration(timeout));
                Err(TransportError { kind: ErrorKind::Timeout, detail })
            }
        }
    }
}

impl Transport for Client {
    fn connect<'a>(&'a self, request: &'a StreamRequest) -> BoxFuture<'a, Result<Response, TransportError>> {
        self.send(request).boxed()
    }
}

fn head(url: &Url, bearer: &Secret) -> Result<Request<Full<Bytes>>, TransportError> {
    let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort])
        .map_err(|_| not_allowed("accounts[].url has an invalid host"))?;
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri(&url[Position::BeforePath..])?;
    let headers = request.headers_mut();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(AUTHORIZATION, authorization(bearer)?);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(USER_AGENT, connector::USER_AGENT);
    headers.insert(HOST, host);
    Ok(request)
}

fn uri(text: &str) -> Result<Uri, TransportError> {
    text.parse().map_err(|_| not_allowed("accounts[].url is not a valid URI"))
}

fn into_response(response: http::Response<UpstreamBody>) -> Response {
    let status = response.status().as_u16();
    let (headers, coding) = (Headers::read(response.headers()), Coding::read(response.headers()));
    let body = response.into_body().map_err(|error| failure::body_failure(&error));
    Response { status, headers, body: decoded(coding, body) }
}

fn authorization(bearer: &Secret) -> Result<HeaderValue, TransportError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", bearer.expose()))
        .map_err(|_| not_allowed("bearer token contains characters that are not allowed in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Refuses an origin to which the bearer would travel unencrypted, except loopback.
fn check_origin(url: &Url) -> Result<(), TransportError> {
    let detail = match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => {
            "accounts[].url must not contain a user name or password"
        }
        "https" => return Ok(()),
        "http" if is_local(url) => return Ok(()),
        "http" => "accounts[].url must be https; http is for loopback only",
        _ => "accounts[].url must be an https URL",
    };
    Err(not_allowed(detail))
}

fn not_allowed(detail: &str) -> TransportError {
    TransportError { kind: ErrorKind::NotAllowed, detail: detail.to_owned() }
}

/// True if the server of a URL is on this machine.
pub fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests;
