//! Calls of AdminService, and the texts of their failures.

use std::time::Duration;

use powerstream_consumer::{CredentialError, CredentialFiles, innermost};
use thiserror::Error;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

use super::super::exit::Exit;
use crate::proto::admin_service_client::AdminServiceClient;
use crate::proto::{
    AccountStatus, ConfigValue, DrainRequest, DrainResponse, GetConfigRequest, ListAccountsRequest,
    ListSessionsRequest, ReloadRequest, ReloadResponse, SessionInfo, SetLogFilterRequest, SetLogFilterResponse,
    TerminateSessionRequest, TerminateSessionResponse, UndrainRequest, UndrainResponse, WhoAmIRequest, WhoAmIResponse,
};

/// Maximum time to connect, and of a call.
const TIMEOUT: Duration = Duration::from_secs(40);
/// Entries of a page.
const PAGE_SIZE: i32 = 1_000;

/// A client of AdminService.
pub(super) struct AdminClient {
    inner: AdminServiceClient<Channel>,
    authorization: Option<AsciiMetadataValue>,
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
    #[error("cannot connect to {address}: {cause}; is this the admin port of a running gateway (admin.address)?")]
    Connect { address: String, cause: String },
    /// The gateway refused the call.
    #[error("{reason}: {message}{advice}")]
    Refused { code: Code, reason: String, message: String, advice: &'static str },
}

/// A request whose response is one page of a list.
pub(super) trait PageRequest: Clone {
    /// An entry of the list.
    type Entry;
    /// Requests the page at this token, and returns its entries and the next token.
    async fn page(self, client: &mut AdminClient, token: String) -> Result<(Vec<Self::Entry>, String), CallError>
    where
        Self: Sized;
}

macro_rules! pages {
    ($request:ty, $entry:ty, $method:ident, $entries:ident) => {
        impl PageRequest for $request {
            type Entry = $entry;

            async fn page(
                mut self,
                client: &mut AdminClient,
                token: String,
            ) -> Result<(Vec<Self::Entry>, String), CallError> {
                (self.page_size, self.page_token) = (PAGE_SIZE, token);
                let request = client.request(self);
                let response = answer(client.inner.$method(request).await)?;
                Ok((response.$entries, response.next_page_token))
            }
        }
    };
}

pages!(ListAccountsRequest, AccountStatus, list_accounts, accounts);
pages!(ListSessionsRequest, SessionInfo, list_sessions, sessions);
pages!(GetConfigRequest, ConfigValue, get_config, values);

macro_rules! calls {
    ($($method:ident: $request:ty => $response:ty,)*) => {
        impl AdminClient {
            $(
                pub(super) async fn $method(&mut self, request: $request) -> Result<$response, CallError> {
                    let request = self.request(request);
                    answer(self.inner.$method(request).await)
                }
            )*
        }
    };
}

calls! {
    terminate_session: TerminateSessionRequest => TerminateSessionResponse,
    drain: DrainRequest => DrainResponse,
    undrain: UndrainRequest => UndrainResponse,
    set_log_filter: SetLogFilterRequest => SetLogFilterResponse,
    reload: ReloadRequest => ReloadResponse,
    who_am_i: WhoAmIRequest => WhoAmIResponse,
}

impl AdminClient {
    /// Connects.
    pub(super) async fn connect(address: &str, files: &CredentialFiles) -> Result<Self, CallError> {
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
        };
        let channel = endpoint.connect().await.map_err(failed)?;
        Ok(Self { inner: AdminServiceClient::new(channel), authorization })
    }

    /// Reads the pages of a list, up to so many entries.
    pub(super) async fn pages<R: PageRequest>(&mut self, request: R, limit: usize) -> Result<Vec<R::Entry>, CallError> {
        let (mut entries, mut token) = (Vec::new(), String::new());
        loop {
            let (page, next) = request.clone().page(self, token).await?;
            entries.extend(page);
            token = next;
            if token.is_empty() || entries.len() >= limit {
                entries.truncate(limit);
                return Ok(entries);
            }
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
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
}

fn answer<T>(answer: Result<Response<T>, Status>) -> Result<T, CallError> {
    answer.map(Response::into_inner).map_err(|status| {
        let reason = status.get_details_error_info().map(|info| info.reason);
        let is_own = reason.is_some();
        let advice = match (status.code(), is_own) {
            (Code::Unimplemented, _) => {
                "; AdminService is on the admin port only: pass its address with --addr (setting admin.address)"
            }
            (Code::Unauthenticated, _) => "; pass a bearer token with --bearer-file, or a certificate with --cert-file",
            (_, false) => "; is this the admin port of a gateway (setting admin.address)?",
            _ => "",
        };
        let message = if is_own { status.message().to_owned() } else { innermost(&status) };
        let reason = reason.unwrap_or_else(|| format!("{:?}", status.code()));
        CallError::Refused { code: status.code(), reason, message, advice }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failures_name_cause_and_remedy() {
        let connect = async |address: &str, files: &CredentialFiles| {
            AdminClient::connect(address, files).await.err().map(|error| (error.to_string(), error.exit()))
        };
        let none = CredentialFiles::default();
        let (text, exit) = connect("localhost:9600", &none).await.expect("no scheme");
        assert!(text.starts_with("invalid address \"localhost:9600\": expected http://host:port"), "{text}");
        assert_eq!(exit, Exit::Usage);
        let files = CredentialFiles { bearer: Some("/nowhere/token".into()), ..none.clone() };
        let (text, exit) = connect("http://127.0.0.1:1", &files).await.expect("no file");
        assert_eq!((text.as_str(), exit), ("cannot read /nowhere/token: entity not found", Exit::Usage));
        let (text, exit) = connect("http://127.0.0.1:1", &none).await.expect("nothing listens");
        assert!(text.starts_with("cannot connect to http://127.0.0.1:1: "), "{text}");
        assert!(text.ends_with("is this the admin port of a running gateway (admin.address)?"), "{text}");
        assert_eq!(exit, Exit::Failed);
    }
}
