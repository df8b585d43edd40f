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
    /// Connections at once. For one more, the one that is idle for longest is closed; it is refused if all have streams.
    pub connections_max: usize,
    /// Connections of one peer address at once; 0 = no bound, for gateways behind a proxy. Beyond it a peer's own idle
    /// connections make way.
    pub connections_per_peer_max: usize,
    /// How long a connection without streams is kept.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// Streams of one connection at once.
    pub streams_per_connection_max: u32,
    /// Streams that a connection may open per second, after a burst of as many or of `streams_per_connection_max`. A
    /// connection that opens more is read more slowly; nothing on it ends.
    pub streams_per_second_max: u32,
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
    /// How long a response may make no progress before its stream is reset; sessions are kept.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub send_timeout: Duration,
    /// Bytes of responses of all methods but Subscribe that were made and not sent yet, in the process. Beyond it, what has
    /// made no progress for longest makes way.
    pub response_bytes_max: usize,
    /// The same for one connection. Beyond it, calls end with RESPONSE_LIMIT.
    pub connection_response_bytes_max: usize,
    /// Bytes of a stream that wait for the socket, and one message more.
    pub send_buffer_bytes_max: usize,
    /// When the batches of a subscription are compressed.
    pub compression: Compression,
    /// Bytes of the journal that one GetCoverage verifies, and again as many that it reads to find skipped messages.
    pub coverage_read_bytes_max: u64,
    /// GetCoverage calls that read the journal at once; the others wait.
    pub coverage_reads_max: usize,
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
            // Half of them: no single peer can take all.
            connections_per_peer_max: 10_000,
            // Libraries connect again by themselves when they need to.
            idle_timeout: Duration::from_secs(300),
            streams_per_connection_max: 1_024,
            // Half a core or so, if each is a subscription that is cancelled at once.
            streams_per_second_max: 4_096,
            first_bytes_timeout: Duration::from_secs(10),
            // 15 s + 15 s: a vanished peer is reaped within 35 s.
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(15),
            unary_timeout: Duration::from_secs(30),
            // Far below the 512 threads of the runtime's pool, and more than disks do at once.
            lookups_max: 32,
            // A filter of 256 KiB and its framing fit four times over.
            request_bytes_max: 1 << 20,
            header_bytes_max: 16 << 10,
            send_timeout: Duration::from_secs(30),
            // Of 1 MiB, which no response exceeds by much, 64 in the process, and 4 on a connection.
            response_bytes_max: 64 << 20,
            connection_response_bytes_max: 4 << 20,
            send_buffer_bytes_max: 64 << 10,
            compression: Compression::Asked,
            // About a second of a disk.
            coverage_read_bytes_max: 64 << 20,
            coverage_reads_max: 2,
        }
    }
}
