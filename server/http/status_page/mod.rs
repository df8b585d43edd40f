//! The status page: `/`, its data `/status.json`, and `/status/events`, which sends the data at an interval.
//!
//! Owns: the page, the right to see it, its content (`snapshot`), the computation of snapshots once for all viewers of equal
//! rights (`cache`), and the places of watchers. Does not own: the state of accounts (`gateway` and below), of the process
//! ([`ProcessStatus`]), and the connections (`http::connection`).
//!
//! Design: everything is read with GET and nothing can be changed. A browser signs in with HTTP Basic, whose password is a
//! bearer token, because it sends no other credential for an `EventSource`. Over plain HTTP that is accepted on loopback only.
//!
//! Invariants and their tests (`tests/it/status_page`):
//! - The right `status` decides about each account, at each snapshot (`rights_decide_what_is_shown`,
//!   `watcher_ends_with_its_credential`).
//! - No post, secret or text of a rule is shown (`tests/it/canaries`, `posts_and_rules_are_not_shown`).
//! - Watchers keep no probe waiting (`watchers_have_places_of_their_own`).
//! - What the page shows is text, never markup, and its policy allows only what is embedded (`policy_allows_embedded_parts`).

mod account;
mod cache;
mod document;
mod host;
mod plain;
mod process;
mod rules;
mod snapshot;
mod viewer;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};

use self::cache::{EncodedSnapshot, SnapshotCache, SnapshotSource};
use self::document::Document;
pub use self::process::{CredentialState, ProcessState, ProcessStatus};
use self::viewer::{OfferedCredential, VisibleAccounts, offered, visible};
use self::watch::{Watched, Watcher};
use super::config::Config;
use super::connection::RequestOrigin;
use super::readiness::ReadinessProbe;
use crate::access::{AccessControl, AuditedCall, AuthError, Authenticated};
use crate::backoff::client_retry_delay;
use crate::clock::Clock;
use crate::gateway::Gateway;
use crate::task::Shutdown;

/// Realm of the sign-in, which browsers show.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"powerstream-gateway\", charset=\"UTF-8\"");
/// Answer to a principal that has used up its calls or sessions.
const LIMITED: &str = "a limit of this principal is reached; close other tabs, or retry later";
const JSON: &str = "application/json; charset=utf-8";
const EVENTS: &str = "text/event-stream; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// The status page of a gateway.
pub struct StatusPage {
    config: Config,
    gateway: Arc<Gateway>,
    access: Arc<AccessControl>,
    clock: Clock,
    /// False if callers that have every right for want of credentials are refused.
    allows_open: bool,
    snapshots: Arc<SnapshotCache>,
    document: Document,
    shutdown: Shutdown,
}

/// What the page reads.
pub struct StatusSource {
    /// The accounts.
    pub gateway: Arc<Gateway>,
    /// Credentials and rights of viewers.
    pub access: Arc<AccessControl>,
    /// State of the process.
    pub process: Arc<dyn ProcessStatus>,
    /// Readiness.
    pub probe: Arc<dyn ReadinessProbe>,
}

/// A viewer, and the accounts that it may see.
struct Viewer {
    caller: Authenticated,
    accounts: VisibleAccounts,
}

impl StatusPage {
    /// Creates the page of an admin port. Watchers leave at `shutdown`.
    pub fn new(config: &Config, source: StatusSource, is_loopback: bool, clock: Clock, shutdown: Shutdown) -> Self {
        let StatusSource { gateway, access, process, probe } = source;
        let read = SnapshotSource { gateway: gateway.clone(), process, probe, clock: clock.clone() };
        Self {
            config: config.clone(),
            gateway,
            access,
            clock,
            allows_open: is_loopback,
            snapshots: Arc::new(SnapshotCache::new(read)),
            document: Document::new(),
            shutdown,
        }
    }

    /// Returns the routes of the page.
    pub(super) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/", get(page))
            .route("/status.json", get(data))
            .route("/status/events", get(events))
            .with_state(self)
    }

    fn answer(&self, status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
        let mut answer = (status, body.into()).into_response();
        answer.headers_mut().extend(self.document.headers().clone());
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        answer
    }

    fn refuse(&self, status: StatusCode, text: &str) -> Response {
        self.answer(status, TEXT, format!("{text}\n"))
    }

    /// Admits a viewer, or returns the answer of the refusal.
    async fn admit(&self, request: &Parts) -> Result<Viewer, Box<Response>> {
        let path = request.uri.path();
        if !host::is_allowed(request, &self.config.hosts) {
            let text =
                "this name is not allowed for the status page; use an IP address, or list the name in admin.hosts";
            return Err(self.refuse(StatusCode::MISDIRECTED_REQUEST, text).into());
        }
        let origin = request.extensions.get::<RequestOrigin>();
        let peer = origin.map(|origin| origin.client.peer.ip());
        let caller = match self.authenticate(request, origin).await {
            Ok(caller) => caller,
            Err((answer, reason)) => {
                if !reason.is_empty() {
                    let call = AuditedCall { caller: None, peer, method: path };
                    let refusals = self.access.audit().log_refused_authentication(call, reason);
                    self.clock.sleep(self.access.refusal_delay(refusals)).await;
                }
                return Err(answer);
            }
        };
        let accounts = visible(&self.gateway, |account| caller.grant(account));
        let call = AuditedCall { caller: Some(&caller), peer, method: path };
        let outcome = if accounts.is_empty() { ("PermissionDenied", "ACCESS_DENIED") } else { ("Ok", "") };
        self.access.audit().log_admin_call(call, outcome.0, outcome.1);
        if accounts.is_empty() {
            let text = "the right `status` on an account is required; ask the owner of the account";
            return Err(self.refuse(StatusCode::FORBIDDEN, text).into());
        }
        if caller.charge_call().is_err() {
            self.clock.sleep(caller.refusal_delay()).await;
            return Err(self.refuse(StatusCode::TOO_MANY_REQUESTS, LIMITED).into());
        }
        Ok(Viewer { caller, accounts })
    }

    /// Authenticates a viewer, or returns the answer and the reason of the refusal; without a reason, nothing was offered.
    async fn authenticate(
        &self,
        request: &Parts,
        origin: Option<&RequestOrigin>,
    ) -> Result<Authenticated, (Box<Response>, &'static str)> {
        let offered = offered(&request.headers);
        let is_private = origin.is_some_and(|origin| origin.client.is_private());
        if offered.as_ref().is_ok_and(|offered| offered.is_basic) && !is_private {
            let text = "a token as password is accepted over TLS or on loopback only; configure admin.tls, or forward the port";
            return Err((self.refuse(StatusCode::FORBIDDEN, text).into(), "CREDENTIALS_UNPROTECTED"));
        }
        let certificate = origin.and_then(|origin| origin.client.identity.as_deref());
        let accepted = match offered {
            Ok(OfferedCredential { headers, .. }) => self.access.authenticate_call(&headers, certificate).await,
            Err(error) => Err(error),
        };
        let reason = match accepted {
            Ok(caller) if self.allows_open || !caller.is_unrestricted() => return Ok(caller),
            Ok(_) | Err(AuthError::Missing) => "",
            Err(AuthError::Invalid | AuthError::KeyUnknown) => "CREDENTIALS_INVALID",
            Err(AuthError::Expired) => "CREDENTIALS_EXPIRED",
            Err(error @ AuthError::Unavailable) => {
                let answer = self.refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
                return Err((answer.into(), "AUTH_UNAVAILABLE"));
            }
        };
        let text = "sign in with a bearer token as the password; the user name does not matter";
        let mut answer = self.refuse(StatusCode::UNAUTHORIZED, text);
        // A browser must not be led to send a token in plain text.
        if is_private {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        Err((answer.into(), reason))
    }

    async fn latest(&self, accounts: VisibleAccounts) -> Result<Arc<EncodedSnapshot>, Box<Response>> {
        let text = "the status could not be computed; the log of the gateway has the error";
        let failed = || self.refuse(StatusCode::INTERNAL_SERVER_ERROR, text).into();
        self.snapshots.latest(accounts).await.ok_or_else(failed)
    }

    async fn show_page(&self, request: &Parts) -> Result<Response, Box<Response>> {
        let viewer = self.admit(request).await?;
        let latest = self.latest(viewer.accounts).await?;
        Ok(self.answer(StatusCode::OK, HTML, self.document.with(&latest.snapshot)))
    }

    async fn show_data(&self, request: &Parts) -> Result<Response, Box<Response>> {
        let viewer = self.admit(request).await?;
        let latest = self.latest(viewer.accounts).await?;
        Ok(self.answer(StatusCode::OK, JSON, latest.json.clone()))
    }

    async fn begin_events(&self, request: &Parts) -> Result<Response, Box<Response>> {
        let viewer = self.admit(request).await?;
        let Ok(permit) = viewer.caller.open_session(client_retry_delay()) else {
            self.clock.sleep(viewer.caller.refusal_delay()).await;
            return Err(self.refuse(StatusCode::TOO_MANY_REQUESTS, LIMITED).into());
        };
        let credential = self.access.watch_credential(viewer.caller.credential.clone(), permit);
        let Some(place) = request.extensions.get::<RequestOrigin>().and_then(RequestOrigin::begin_watch) else {
            let text = format!(
                "all {} places of watchers are in use (admin.watchers_max); request /status.json instead",
                self.config.watchers_max
            );
            return Err(self.refuse(StatusCode::SERVICE_UNAVAILABLE, &text).into());
        };
        let watched = Watched {
            gateway: self.gateway.clone(),
            snapshots: self.snapshots.clone(),
            clock: self.clock.clone(),
            age_max: self.config.watch_age_max,
            shutdown: self.shutdown.clone(),
        };
        let body = Watcher::new(watched, credential, place).into_body();
        Ok(self.answer(StatusCode::OK, EVENTS, body))
    }
}

async fn page(State(page): State<Arc<StatusPage>>, request: Parts) -> Response {
    page.show_page(&request).await.unwrap_or_else(|refused| *refused)
}

async fn data(State(page): State<Arc<StatusPage>>, request: Parts) -> Response {
    page.show_data(&request).await.unwrap_or_else(|refused| *refused)
}

async fn events(State(page): State<Arc<StatusPage>>, request: Parts) -> Response {
    page.begin_events(&request).await.unwrap_or_else(|refused| *refused)
}
