//! Settings of the admin port.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tls;

/// Settings of the admin port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the admin port. Port 0 selects any free port.
    pub address: SocketAddr,
    /// TLS of the admin port.
    pub tls: tls::Config,
    /// Maximum time until a client has sent the header of its request.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub header_timeout: Duration,
    /// Maximum duration of a connection, from accept to the last byte of the response.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub request_timeout: Duration,
    /// Maximum connections whose request is not answered yet. A further connection replaces the oldest.
    #[schemars(range(min = 1, max = 10_000))]
    pub connections_max: usize,
    /// Maximum concurrent requests of `/metrics`, counted separately. A further request replaces the oldest.
    #[schemars(range(min = 1, max = 1_000))]
    pub scrapes_max: usize,
    /// Maximum connections that call AdminService, counted separately. A further connection replaces the oldest.
    #[schemars(range(min = 1, max = 1_000))]
    pub rpc_connections_max: usize,
    /// Maximum concurrent calls of such a connection.
    #[schemars(range(min = 1, max = 1_000))]
    pub rpc_streams_max: u32,
    /// Age at which such a connection is closed in order.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rpc_connection_age_max: Duration,
    /// Maximum viewers of the status page that receive events, counted separately. A further one is refused, and its page polls.
    #[schemars(range(min = 1, max = 1_000))]
    pub watchers_max: usize,
    /// Age at which the events of a viewer end. A browser reconnects by itself.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub watch_age_max: Duration,
    /// Names of this gateway in URLs of the status page, without port. IP addresses and `localhost` are always allowed.
    pub hosts: Vec<String>,
    /// Maximum consumers whose sessions are refused at a time (`refuse_for` of TerminateSession). 0: none can be.
    #[schemars(range(min = 0, max = 100_000))]
    pub refusals_max: usize,
    /// Maximum bytes of a request header, including the request line.
    #[schemars(range(min = 8_192, max = 1_048_576))]
    pub header_bytes_max: usize,
    /// Maximum time at shutdown for responses in progress.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9600)),
            tls: tls::Config::default(),
            header_timeout: Duration::from_secs(5),
            // Prometheus gives a scrape 10 s by default: a longer scrape has failed.
            request_timeout: Duration::from_secs(15),
            connections_max: 64,
            // Two Prometheus servers and some manual requests.
            scrapes_max: 8,
            // Some operators and scripts at a time; each list page has at most 250 kB.
            rpc_connections_max: 16,
            rpc_streams_max: 8,
            rpc_connection_age_max: Duration::from_secs(600),
            // Some operators with a tab each.
            watchers_max: 16,
            watch_age_max: Duration::from_secs(3_600),
            hosts: Vec::new(),
            refusals_max: 1_000,
            header_bytes_max: 16 << 10,
            drain_timeout: Duration::from_secs(1),
        }
    }
}
