use std::net::{Ipv4Addr, SocketAddr};

use rand::RngExt;
use tonic::transport::{Channel, Endpoint};

use crate::builder::OptionError;
use crate::credential::{Credential, CredentialFiles};
use crate::limits::{CONNECT_WAIT_MAX, HTTP2_FRAME_BYTES_MAX, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use crate::retry_policy::{Disconnect, innermost};

/// Returns the endpoint of an address, with the timeouts of a consumer.
///
/// # Errors
/// Returns [`OptionError::Address`] if it is not `http://host:port` or `https://host:port`.
pub fn endpoint(address: &str) -> Result<Endpoint, OptionError> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .ok()
        .filter(|endpoint| matches!(endpoint.uri().scheme_str(), Some("http" | "https")))
        .filter(|endpoint| endpoint.uri().host().is_some_and(|host| !host.is_empty()))
        .ok_or_else(|| OptionError::Address(address.to_owned()))?;
    Ok(with_limits(endpoint))
}

fn with_limits(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_WAIT_MAX)
        .tcp_nodelay(true)
        .max_frame_size(HTTP2_FRAME_BYTES_MAX)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
}

/// Connects to an endpoint with these credentials, for other calls than a subscription.
///
/// # Errors
/// Returns the cause if a file of the credential cannot be used, or no address of the name accepts the connection.
pub async fn connect(endpoint: &Endpoint, files: &CredentialFiles) -> Result<Channel, String> {
    let credential = Credential::read(files).map_err(|error| error.to_string())?;
    open(endpoint, files, &credential).await.map_err(|end| end.to_string())
}

/// Opens a channel that shares nothing with the one before: name, addresses and authorities are looked up again.
///
/// tonic has no `dns:///` and no round robin: `Channel::balance_list` selects by load, and keeps failed connections to
/// itself. A session is one call on one channel, so trying the addresses in turn from a random one spreads sessions as well.
pub(crate) async fn open(
    endpoint: &Endpoint,
    files: &CredentialFiles,
    credential: &Credential,
) -> Result<Channel, Disconnect> {
    let uri = endpoint.uri();
    let is_tls = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> =
        tokio::net::lookup_host((name, port)).await.map_err(|error| Disconnect::network(&error))?.collect();
    let first = rand::rng().random_range(0..addresses.len().max(1));
    let mut failure = Disconnect::Network(format!("no address of {host}"));
    for address in addresses.iter().cycle().skip(first).take(addresses.len()) {
        let mut target = at(endpoint, *address).map_err(|error| Disconnect::network(&error))?;
        if is_tls {
            target = files.secure_as(&target, credential, host).map_err(Disconnect::Credential)?;
        }
        match target.connect().await {
            Ok(channel) => return Ok(channel),
            Err(error) => failure = Disconnect::Network(format!("{address}: {}", innermost(&error))),
        }
    }
    Err(failure)
}

/// Returns the endpoint of one address of a name.
fn at(endpoint: &Endpoint, address: SocketAddr) -> Result<Endpoint, tonic::transport::Error> {
    let uri = endpoint.uri();
    let scheme = uri.scheme_str().unwrap_or("http");
    Ok(with_limits(Endpoint::from_shared(format!("{scheme}://{address}"))?.origin(uri.clone())))
}

/// True for hosts that no network is between.
pub(crate) fn is_loopback(host: &str) -> bool {
    let is_v4 = host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    host == "localhost" || host == "[::1]" || is_v4
}
