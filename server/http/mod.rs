//! The admin port: is the process alive, is it ready, what does it count.
//!
//! Owns: `/livez`, `/readyz`, `/metrics`, and how a connection to them is bounded. Does not own: what ready means (the
//! [`ReadinessProbe`] that is passed in), the metrics (`telemetry::metrics`), binding the socket (`app`), or who may reach the
//! port (the network: it shows names of accounts and consumers, no posts and no secrets).
//!
//! Invariants:
//! - Liveness does not depend on upstream, disks or subscribers: it is answered as long as the process runs (I15).
//! - One request per connection, and a connection lasts no longer than `request_timeout`, whatever its peer does. With
//!   `connections_max` in use the oldest makes way for the next one, and scrapes have places of their own: so a probe is
//!   answered at once, whoever holds connections (`probe_is_answered_while_places_are_held`).
//! - Rubbish is answered with 4xx or a closed connection, never with a panic (`rubbish_hurts_nobody`).
//! - It stops within `drain_timeout` of being told (`it_stops_in_time_with_silent_clients`).

mod config;
mod connection;
mod connection_slots;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

pub use self::config::Config;
pub use self::connection::Runtime;
use self::connection::SCRAPE_PATH;
use crate::task::Shutdown;
use crate::telemetry::metrics::{CONTENT_TYPE, Registry};

/// Says whether the process can do its work.
pub trait ReadinessProbe: Send + Sync {
    /// `Err` has one short text for each thing that is not ready. It is called for each request and must not wait.
    fn readiness(&self) -> Result<(), Vec<String>>;
}

/// What the port shows.
#[derive(Clone)]
pub struct AdminState {
    /// Answers `/readyz`.
    pub probe: Arc<dyn ReadinessProbe>,
    /// Answers `/metrics`.
    pub metrics: Registry,
}

/// Serves until `shutdown`, then lets answers under way end, for `drain_timeout` at most.
pub async fn serve(listener: TcpListener, config: Config, site: AdminState, runtime: Runtime, shutdown: Shutdown) {
    connection::accept(listener, config, router(site), runtime, shutdown).await;
}

fn router(site: AdminState) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route(SCRAPE_PATH, get(metrics))
        .fallback(not_found)
        .with_state(site)
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

async fn metrics(State(site): State<AdminState>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], site.metrics.encode()).into_response()
}

async fn not_found() -> (StatusCode, &'static str) {
    let paths = "nothing here; there are\n/livez    whether the process runs\n/readyz   whether it can do its work\n\
                 /metrics  what it counts, as OpenMetrics\n";
    (StatusCode::NOT_FOUND, paths)
}

#[cfg(test)]
mod tests;
