//! The admin port: liveness, readiness, metrics, the status page, and the connections of AdminService.
//!
//! Owns: `/livez`, `/readyz`, `/metrics`, the status page ([`status_page`]), and the limits of their connections. Does not
//! own: the meaning of ready ([`ReadinessProbe`]), AdminService ([`RpcHandler`]), the metrics (`telemetry::metrics`), binding
//! the socket (`app`), or access to metrics (the network: they show names of accounts and consumers, no posts and no secrets).
//!
//! Invariants:
//! - Liveness does not depend on upstream, disks or subscribers: it responds as long as the process runs (I15).
//! - One request per connection, and a connection lasts at most `request_timeout`. If `connections_max` are open, a further
//!   one replaces the oldest; scrapes are counted separately, and so are HTTP/2 connections with gRPC calls, which last up to
//!   `rpc_connection_age_max`, and viewers of the status page. So a probe is answered at once, however many connections stay
//!   open (`probe_is_answered_while_places_are_held`).
//! - Malformed input is answered with 4xx or a closed connection, never with a panic (`malformed_requests_affect_no_other`).
//! - It stops within `drain_timeout` of the shutdown signal (`it_stops_in_time_with_silent_clients`).

mod config;
mod connection;
mod readiness;
pub mod status_page;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

pub use self::config::Config;
use self::connection::SCRAPE_PATH;
pub use self::connection::{RpcClient, RpcHandler, Runtime, TLS_PORT};
pub use self::readiness::ReadinessProbe;
use self::status_page::StatusPage;
use crate::task::Shutdown;
use crate::telemetry::metrics::{Format, Registry};

/// State that the port serves.
#[derive(Clone)]
pub struct AdminState {
    /// Source of `/readyz`.
    pub probe: Arc<dyn ReadinessProbe>,
    /// Source of `/metrics`.
    pub metrics: Registry,
    /// Answers gRPC calls; `None`: none is served.
    pub rpc: Option<Arc<dyn RpcHandler>>,
    /// The status page; `None`: none is served.
    pub status: Option<Arc<StatusPage>>,
}

/// Serves until `shutdown`, then waits at most `drain_timeout` for responses in progress.
pub async fn serve(listener: TcpListener, config: Config, site: AdminState, runtime: Runtime, shutdown: Shutdown) {
    let handlers = connection::Handlers { rpc: site.rpc.clone(), router: router(site) };
    connection::accept(listener, config, handlers, runtime, shutdown).await;
}

fn router(site: AdminState) -> Router {
    let status = site.status.clone().map(StatusPage::router).unwrap_or_default();
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route(SCRAPE_PATH, get(metrics))
        .with_state(site)
        .merge(status)
        .fallback(not_found)
}

async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(site): State<AdminState>) -> Response {
    match site.probe.readiness() {
        Ok(()) => "ok\n".into_response(),
        Err(reasons) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{}\n", reasons.join("\n"))).into_response()
        }
    }
}

async fn metrics(State(site): State<AdminState>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::negotiate(accepted);
    let headers = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")];
    (headers, site.metrics.encode_as(format)).into_response()
}

async fn not_found() -> (StatusCode, &'static str) {
    let paths = "nothing here; there are\n/         the status page\n/livez    whether the process runs\n/readyz   whether it can do its work\n\
                 /metrics  what it counts, as OpenMetrics or Prometheus text\npowerstream.gateway.v1.AdminService, with gRPC over HTTP/2\n";
    (StatusCode::NOT_FOUND, paths)
}

#[cfg(test)]
mod tests;
