//! Calls of the services that operate a gateway, and the texts of their failures.

use std::time::Duration;

use powerstream_consumer::{CredentialError, CredentialFiles, innermost};
use thiserror::Error;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

use super::exit::Exit;

/// Maximum time to connect, and of a call. A gateway answers a call that waits after 30 s.
const TIMEOUT: Duration = Duration::from_secs(40);

/// A service, for the texts of failures.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    /// Port that has it.
    pub(super) port: &'static str,
    /// Setting of that port's address.
    pub(super) setting: &'static str,
}

/// A call that failed.
#[derive(Debug, Error)]
pub(super) enum CallError {
    /// The address is none.
    #[error("invalid address {0:?}: expected http://host:port or https://host:port")]
    Address(String),
    /// The files of credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// No connection.
    #[error(
        "cannot connect to {address}: {cause}; is this the {} of a running gateway ({})?",
        service.port,
        service.setting
    )]
    Connect { address: String, cause: String, service: &'static Service },
    /// The gateway refused the call.
    #[error("{reason}: {message}{advice}")]
    Refused { code: Code, reason: String, message: String, advice: String, violations: Vec<Violation> },
}

/// A field of a request that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// Path of the field, as in `rules[3].value`.
    pub(super) field: String,
    /// What is wrong with it.
    pub(super) description: String,
}

/// Connects to a gateway. Returns the channel, and the credential of each call.
pub(super) async fn connect(
    address: &str,
    files: &CredentialFiles,
    service: &'static Service,
) -> Result<(Channel, Option<AsciiMetadataValue>), CallError> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .ok()
        .filter(|endpoint| matches!(endpoint.uri().scheme_str(), Some("http" | "https")))
        .filter(|endpoint| endpoint.uri().host().is_some())
        .ok_or_else(|| CallError::Address(address.to_owned()))?
        .connect_timeout(TIMEOUT)
        .timeout(TIMEOUT);
    let authorization = files.authorization()?;
    let endpoint = files.secure(&endpoint)?;
    let failed = |error: tonic::transport::Error| CallError::Connect {
        address: address.to_owned(),
        cause: innermost(&error),
        service,
    };
    Ok((endpoint.connect().await.map_err(failed)?, authorization))
}

/// Returns a request with the credential.
pub(super) fn request<T>(message: T, authorization: Option<&AsciiMetadataValue>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization.clone());
    }
    request
}

/// Returns the message of an answer, or why there is none.
pub(super) fn answer<T>(answer: Result<Response<T>, Status>, service: &Service) -> Result<T, CallError> {
    answer.map(Response::into_inner).map_err(|status| {
        let reason = status.get_details_error_info().map(|info| info.reason);
        let is_own = reason.is_some();
        let Service { name, port, setting } = service;
        let advice = match (status.code(), is_own) {
            (Code::Unimplemented, _) => {
                format!("; {name} is on the {port} only: pass its address with --addr (setting {setting})")
            }
            (Code::Unauthenticated, _) => {
                "; pass a bearer token with --bearer-file, or a certificate with --cert-file".to_owned()
            }
            (_, false) => format!("; is this the {port} of a gateway (setting {setting})?"),
            _ => String::new(),
        };
        let message = if is_own { status.message().to_owned() } else { innermost(&status) };
        let reason = reason.unwrap_or_else(|| format!("{:?}", status.code()));
        let fields = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
        let violations =
            fields.into_iter().map(|field| Violation { field: field.field, description: field.description }).collect();
        CallError::Refused { code: status.code(), reason, message, advice, violations }
    })
}

impl CallError {
    /// Returns the exit of the command.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Address(_) | Self::Credentials(_) => Exit::Usage,
            Self::Connect { .. } => Exit::Failed,
            Self::Refused { code, .. } => match code {
                Code::Unauthenticated | Code::PermissionDenied => Exit::Refused,
                Code::InvalidArgument | Code::NotFound | Code::Unimplemented => Exit::Usage,
                _ => Exit::Failed,
            },
        }
    }

    /// Returns the reason of a refusal.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            _ => None,
        }
    }
}
