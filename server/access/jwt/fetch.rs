//! Fetches a key set over HTTP. The server at the URL is trusted with keys, not with the gateway's memory or time.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, redirect};
use thiserror::Error;

use super::config::{JwksConfig, JwtKeysConfig};
use super::key_set::JwtKeySet;
use crate::clock::Clock;
use crate::secret::SecretSource;
use crate::{state_file, task};

/// Why a key set could not be fetched.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    /// The CA file or the bearer file cannot be used.
    #[error("{0}")]
    File(String),
    /// No response.
    #[error("request failed: {0}")]
    Request(String),
    /// No response in time.
    #[error("no complete response within {} (auth.jwks.fetch_timeout)", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// Another status than 200; redirects are not followed.
    #[error("response has status {0}")]
    Status(u16),
    /// The response is too long.
    #[error("response exceeds {0} bytes (auth.jwks.response_bytes_max)")]
    TooLong(usize),
    /// The response is something else.
    #[error("response is not a JSON Web Key Set")]
    Malformed,
}

impl FetchError {
    /// Outcomes as values of a metric label.
    pub(super) const OUTCOMES: [&'static str; 7] =
        ["ok", "file", "request", "timeout", "status", "too_long", "malformed"];

    /// Returns the value of the metric label.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Request(_) => "request",
            Self::Timeout(_) => "timeout",
            Self::Status(_) => "status",
            Self::TooLong(_) => "too_long",
            Self::Malformed => "malformed",
        }
    }
}

/// Fetches the key set of a source.
pub(super) async fn fetch(
    source: &JwtKeysConfig,
    settings: &JwksConfig,
    clock: &Clock,
) -> Result<JwtKeySet, FetchError> {
    let limit = settings.fetch_timeout;
    let fetched = clock.timeout(limit, request(source, settings.response_bytes_max)).await;
    let body = fetched.map_err(|crate::clock::Elapsed| FetchError::Timeout(limit))??;
    JwtKeySet::parse(&body).ok_or(FetchError::Malformed)
}

async fn request(source: &JwtKeysConfig, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    let Some(url) = source.url.clone() else { return Err(FetchError::File("no URL".into())) };
    let own = source.clone();
    // Certificates and the bearer are read from the disk, each time: they rotate.
    let prepared = task::blocking(move || Ok::<_, FetchError>((client(&own)?, bearer(own.bearer_file.as_deref())?)));
    let (client, bearer) = prepared.await.map_err(|_| FetchError::File("failed to read files".into()))??;
    let mut asked = client.get(url).header(ACCEPT, "application/jwk-set+json, application/json");
    if let Some(bearer) = bearer {
        asked = asked.header(AUTHORIZATION, bearer);
    }
    let mut response = asked.send().await.map_err(failure)?;
    if response.status() != http::StatusCode::OK {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(failure)? {
        if body.len() + part.len() > bytes_max {
            return Err(FetchError::TooLong(bytes_max));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

fn client(source: &JwtKeysConfig) -> Result<reqwest::Client, FetchError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("powerstream-gateway/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .no_proxy()
        .pool_max_idle_per_host(0);
    if let Some(path) = &source.ca_file {
        builder = builder.tls_certs_merge(certificates(path)?);
    }
    builder.build().map_err(failure)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, FetchError> {
    let fault = |why: &str| FetchError::File(format!("failed to load CA file {}: {why}", path.display()));
    let pem = state_file::read(path).map_err(|error| fault(&error.kind().to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|_| fault("not PEM certificates"))?;
    if found.is_empty() { Err(fault("no certificate in it")) } else { Ok(found) }
}

fn bearer(path: Option<&Path>) -> Result<Option<HeaderValue>, FetchError> {
    let Some(path) = path else { return Ok(None) };
    let secret = SecretSource::File(path.to_owned()).read().map_err(|error| FetchError::File(error.to_string()))?;
    let value = HeaderValue::from_str(&format!("Bearer {}", secret.expose()));
    let mut value = value.map_err(|_| FetchError::File("bearer has characters that no header may have".into()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn failure(error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    FetchError::Request(text)
}

#[cfg(test)]
mod tests;
