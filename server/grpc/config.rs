use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the gRPC port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address to listen on. Anything but loopback needs `allow_unauthenticated`.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// Let everybody who reaches the address read everything. Without it only loopback addresses are allowed.
    pub allow_unauthenticated: bool,
    /// Connections at once; one more is closed at once.
    pub connections_max: usize,
    /// Streams of one connection at once.
    pub streams_per_connection_max: u32,
    /// How long a new connection may take to send the HTTP/2 preface.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub first_bytes_timeout: Duration,
    /// How often a connection is pinged. With `ping_timeout` it bounds how long a vanished client is kept.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub ping_interval: Duration,
    /// How long the answer to a ping may take.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub ping_timeout: Duration,
    /// How long a unary call may take.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub unary_timeout: Duration,
    /// Requests that search the log for where to start, at once; the others wait their turn, within `unary_timeout`.
    pub lookups_max: usize,
    /// Bytes of a request message.
    pub request_bytes_max: usize,
    /// Bytes of the headers of a request.
    pub header_bytes_max: u32,
    /// Bytes of a stream that wait for the socket, and one message more.
    pub send_buffer_bytes_max: usize,
    /// When the batches of a subscription are compressed.
    pub compression: Compression,
}

/// When the batches of a subscription are compressed, with gzip or zstd: once for all sessions that get the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Never.
    Never,
    /// For a client whose request is sent under an encoding, with the same one, if it accepts it.
    Asked,
    /// For every client that accepts an encoding; most libraries say so without being told.
    Accepted,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 50051)),
            allow_unauthenticated: false,
            connections_max: 20_000,
            streams_per_connection_max: 1_024,
            first_bytes_timeout: Duration::from_secs(10),
            // 15 s + 15 s: a vanished peer is reaped within 35 s.
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(15),
            unary_timeout: Duration::from_secs(30),
            // Far below the 512 threads of the runtime's pool, and more than disks do at once.
            lookups_max: 32,
            // 1,000 terms of 255 bytes and their framing fit four times over.
            request_bytes_max: 1 << 20,
            header_bytes_max: 16 << 10,
            send_buffer_bytes_max: 64 << 10,
            compression: Compression::Asked,
        }
    }
}
