use std::net::SocketAddr;

use rand::RngExt;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::config::{Config, ResumePolicyFlag, StartFlag};
use crate::credential::{Credential, read};
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_EVENTS_MAX, CONNECT_WAIT_MAX, HTTP2_FRAME_BYTES_MAX, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT,
};
use crate::proto::subscribe_request::Start;
use crate::proto::{Earliest, Latest, ResumePolicy, SubscribeRequest, TagFilter};
use crate::retry_policy::Ending;
use crate::status::ending_of_connect;

/// A channel that shares nothing with the one before: name, addresses and authorities are looked up anew.
///
/// tonic has no `dns:///` and no round robin: `Channel::balance_list` picks by load, and keeps failed connections to
/// itself. A session is one call on one channel, so the same is had by trying the addresses in turn from a random one.
pub async fn connect(config: &Config, credential: &Credential) -> Result<Channel, Ending> {
    let addresses: Vec<_> =
        tokio::net::lookup_host(config.authority()).await.map_err(|error| ending_of_connect(&error))?.collect();
    let first = rand::rng().random_range(0..addresses.len().max(1));
    let tls = tls(config, credential)?;
    let mut failure = Ending::Silence(CONNECT_WAIT_MAX);
    for address in addresses.iter().cycle().skip(first).take(addresses.len()) {
        match endpoint(config, *address, tls.clone())?.connect().await {
            Ok(channel) => return Ok(channel),
            Err(error) => failure = ending_of_connect(&error),
        }
    }
    Err(failure)
}

fn endpoint(config: &Config, address: SocketAddr, tls: Option<ClientTlsConfig>) -> Result<Endpoint, Ending> {
    let scheme = if config.tls { "https" } else { "http" };
    let unusable = |error: &dyn std::error::Error| ending_of_connect(error);
    let origin = format!("{scheme}://{}", config.authority()).parse();
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(|error| unusable(&error))?
        .origin(origin.map_err(|error: tonic::codegen::http::uri::InvalidUri| unusable(&error))?)
        .connect_timeout(CONNECT_WAIT_MAX)
        .tcp_nodelay(true)
        .max_frame_size(HTTP2_FRAME_BYTES_MAX)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    match tls {
        Some(tls) => endpoint.tls_config(tls).map_err(|error| unusable(&error)),
        None => Ok(endpoint),
    }
}

fn tls(config: &Config, credential: &Credential) -> Result<Option<ClientTlsConfig>, Ending> {
    if !config.tls {
        return Ok(None);
    }
    let host = config.host.trim_start_matches('[').trim_end_matches(']');
    let mut tls = ClientTlsConfig::new().domain_name(host);
    if let Some((certificate, key)) = &credential.identity {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    Ok(Some(match &config.ca_file {
        Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
        None => tls.with_native_roots(),
    }))
}

/// The call with its metadata.
pub fn request_of(config: &Config, credential: &Credential, token: Option<&str>) -> tonic::Request<SubscribeRequest> {
    let mut request = tonic::Request::new(message_of(config, token));
    if let Some(token) = &credential.token {
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().expect("Credential::read takes printable ASCII only");
        value.set_sensitive(true);
        request.metadata_mut().insert("authorization", value);
    }
    request
}

fn message_of(config: &Config, token: Option<&str>) -> SubscribeRequest {
    let start = match (token, config.start) {
        (Some(token), _) => Start::ResumeToken(token.into()),
        (None, StartFlag::Earliest) => Start::Earliest(Earliest {}),
        (None, StartFlag::Latest) => Start::Latest(Latest {}),
    };
    let resume_policy = match config.resume_policy {
        ResumePolicyFlag::Fail => ResumePolicy::Fail,
        ResumePolicyFlag::Earliest => ResumePolicy::Earliest,
        ResumePolicyFlag::Latest => ResumePolicy::Latest,
    };
    SubscribeRequest {
        account: config.account.clone(),
        consumer: config.consumer.clone(),
        filter: Some(TagFilter { any_of: config.any_of.clone(), ..TagFilter::default() }),
        start: Some(start),
        resume_policy: resume_policy.into(),
        max_batch_bytes: BATCH_BYTES_MAX,
        max_batch_events: BATCH_EVENTS_MAX,
        heartbeat_interval: prost_types::Duration::try_from(config.heartbeat).ok(),
        ..SubscribeRequest::default()
    }
}
