//! Calls of AdminService.

use powerstream_consumer::CredentialFiles;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::cli::call::{self, CallError, Service};
use crate::proto::admin_service_client::AdminServiceClient;
use crate::proto::{
    AccountStatus, ConfigValue, DrainRequest, DrainResponse, GetConfigRequest, ListAccountsRequest,
    ListSessionsRequest, ReloadRequest, ReloadResponse, SessionInfo, SetLogFilterRequest, SetLogFilterResponse,
    TerminateSessionRequest, TerminateSessionResponse, UndrainRequest, UndrainResponse, WhoAmIRequest, WhoAmIResponse,
};

/// The service.
const SERVICE: Service = Service { name: "AdminService", port: "admin port", setting: "admin.address" };
/// Entries of a page.
const PAGE_SIZE: i32 = 1_000;

/// A client of AdminService.
pub(super) struct AdminClient {
    inner: AdminServiceClient<Channel>,
    authorization: Option<AsciiMetadataValue>,
}

/// A request whose response is one page of a list.
pub(super) trait ListRequest: Clone {
    /// An entry of the list.
    type Entry;
    /// Requests the page at this token, and returns its entries and the next token.
    async fn page(self, client: &mut AdminClient, token: String) -> Result<(Vec<Self::Entry>, String), CallError>
    where
        Self: Sized;
}

macro_rules! pages {
    ($request:ty, $entry:ty, $method:ident, $entries:ident) => {
        impl ListRequest for $request {
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
        let (channel, authorization) = call::connect(address, files, &SERVICE).await?;
        Ok(Self { inner: AdminServiceClient::new(channel), authorization })
    }

    /// Reads the pages of a list, up to so many entries.
    pub(super) async fn pages<R: ListRequest>(&mut self, request: R, limit: usize) -> Result<Vec<R::Entry>, CallError> {
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
        call::request(message, self.authorization.as_ref())
    }
}

fn answer<T>(answer: Result<Response<T>, Status>) -> Result<T, CallError> {
    call::answer(answer, &SERVICE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

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
