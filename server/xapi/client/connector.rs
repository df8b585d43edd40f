//! Connects to an origin: name resolution, TCP, proxy tunnel, TLS.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Uri, header};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use tower::ServiceExt;
use tower::util::{BoxCloneSyncService, MapErr};
use url::Url;

use super::exchange::UpstreamSocket;
use super::failure::{BoxError, ResolveError, TlsHandshakeError, error_chain};
use super::options::{ClientError, ClientOptions};
use crate::clock::Clock;
use crate::state_file;

/// Sent with every request; X asks for a version in it (F-HD).
pub(super) const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("powerstream-gateway/", env!("CARGO_PKG_VERSION")));

/// Interval of TCP keepalive probes, so that a vanished peer is detected independently of the stream's watchdog.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// X documents HTTP/1.1; its streams end differently over HTTP/2 (twitter-api-java-sdk#37).
const ALPN: &[u8] = b"http/1.1";

/// One way to a connected socket.
type ConnectService = BoxCloneSyncService<Uri, Box<dyn UpstreamSocket>, BoxError>;

/// Resolves names in a thread, with marked errors.
type DnsResolver = MapErr<GaiResolver, fn(io::Error) -> ResolveError>;

/// Opens sockets to origins. Dropping a pending connect closes its socket: no task is involved.
#[derive(Clone)]
pub(super) struct Connector {
    direct: ConnectService,
    /// For https only: the proxy sees a tunnel. Plain http is allowed to loopback only and never uses the proxy.
    tunnel: Option<ConnectService>,
}

impl Connector {
    /// Creates the connector without connecting.
    pub(super) fn new(options: &ClientOptions, clock: &Clock) -> Result<Self, ClientError> {
        let tcp = tcp(options, clock);
        let tls = tls(options.ca_file.as_deref())?;
        let tunnel = options.proxy.as_ref().map(|url| tunnel(proxy(url)?, tcp.clone(), tls.clone())).transpose()?;
        let direct = HttpsConnector::from((tcp, tls)).map_err(mark_handshake).map_response(boxed);
        Ok(Self { direct: BoxCloneSyncService::new(direct), tunnel })
    }

    /// Connects to the origin of a URL.
    pub(super) async fn connect(&self, origin: Uri) -> Result<Box<dyn UpstreamSocket>, BoxError> {
        let tunnel = self.tunnel.as_ref().filter(|_| origin.scheme() == Some(&http::uri::Scheme::HTTPS));
        tunnel.unwrap_or(&self.direct).clone().oneshot(origin).await
    }
}

fn boxed(socket: impl UpstreamSocket + 'static) -> Box<dyn UpstreamSocket> {
    Box::new(socket)
}

/// TCP with happy eyeballs.
fn tcp(options: &ClientOptions, clock: &Clock) -> HttpConnector<DnsResolver> {
    // The kernel counts in whole seconds.
    let keepalive = Some(clock.real(TCP_KEEPALIVE).max(Duration::from_secs(1)));
    let mark: fn(io::Error) -> ResolveError = ResolveError;
    let mut tcp = HttpConnector::new_with_resolver(GaiResolver::new().map_err(mark));
    tcp.enforce_http(false);
    // Divided among the addresses of a name.
    tcp.set_connect_timeout(Some(clock.real(options.connect_timeout)));
    tcp.set_keepalive(keepalive);
    tcp.set_keepalive_interval(keepalive);
    tcp.set_nodelay(true);
    tcp
}

/// TLS through a CONNECT tunnel. The connection to the proxy may be TLS as well.
fn tunnel(proxy: Uri, tcp: HttpConnector<DnsResolver>, tls: Arc<ClientConfig>) -> Result<ConnectService, ClientError> {
    let mut proxy_tls = ClientConfig::clone(&tls);
    proxy_tls.alpn_protocols.clear();
    let to_proxy = HttpsConnector::from((tcp, proxy_tls)).map_err(mark_handshake);
    let headers = HeaderMap::from_iter([(header::USER_AGENT, USER_AGENT)]);
    let tunnel = Tunnel::new(proxy, to_proxy).with_headers(headers);
    let service = HttpsConnector::from((tunnel, tls)).map_err(mark_handshake).map_response(boxed);
    Ok(BoxCloneSyncService::new(service))
}

/// Marks failures of TLS: the connector returns them as I/O errors, and those of the layers below as their own types.
fn mark_handshake(error: BoxError) -> BoxError {
    if error.is::<io::Error>() { Box::new(TlsHandshakeError(error)) } else { error }
}

fn proxy(url: &Url) -> Result<Uri, ClientError> {
    let plain = url.username().is_empty() && url.password().is_none();
    if !plain || !matches!(url.scheme(), "http" | "https") {
        return Err(ClientError::Proxy);
    }
    url.as_str().parse().map_err(|_| ClientError::Proxy)
}

fn tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, ClientError> {
    let build = |error: rustls::Error| ClientError::Build(error_chain(&error, None));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(verifier(ca_file, provider.clone())?);
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(build)?;
    // `dangerous` is the only way to a verifier that asks the system.
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn verifier(ca_file: Option<&Path>, provider: Arc<CryptoProvider>) -> Result<Verifier, ClientError> {
    let extra = ca_file.map(certificates).transpose()?.unwrap_or_default();
    Verifier::new_with_extra_roots(extra, provider).map_err(|error| ClientError::Build(error_chain(&error, None)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let refuse = |detail: String| ClientError::CaFile { path: path.to_owned(), detail };
    // Reading a FIFO would block the start, and a device would fill the memory.
    let pem = state_file::read(path).map_err(|error| match error.raw_os_error() {
        Some(_) => refuse(error.kind().to_string()),
        None => refuse(error.to_string()),
    })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| refuse(error_chain(&error, None)))?;
    if found.is_empty() {
        return Err(refuse("file contains no certificate".to_owned()));
    }
    Ok(found)
}
