use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tls;

/// Settings of the gRPC port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the gRPC port. A non-loopback address requires credentials (`auth`), or `allow_unauthenticated`.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// Allows a non-loopback address without credentials: every client that reaches it can read everything. It has no
    /// effect if `auth` has an authenticator or roles for anonymous callers.
    pub allow_unauthenticated: bool,
    /// Which clients may use server reflection.
    pub reflection: Reflection,
    /// TLS of the gRPC port.
    pub tls: tls::Config,
    /// Maximum connections. A further connection replaces the longest idle one, or is refused if all have streams.
    pub connections_max: usize,
    /// Maximum connections of one peer address. Beyond it, the peer's own idle connections are closed. 0: no limit,
    /// for gateways behind a proxy.
    pub connections_per_peer_max: usize,
    /// How long a connection without streams is kept.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub idle_timeout: Duration,
    /// Maximum concurrent streams of a connection.
    pub streams_per_connection_max: u32,
    /// Maximum streams that a connection may open per second, after a burst of as many or of
    /// `streams_per_connection_max`. A connection that opens more is read more slowly; none of its streams ends.
    pub streams_per_second_max: u32,
    /// Maximum time until a new connection sends the HTTP/2 preface, including the TLS handshake.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub preface_timeout: Duration,
    /// Interval of PING frames. With `ping_timeout` it bounds how long a vanished client is kept.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub ping_interval: Duration,
    /// Maximum time until a PING is answered.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub ping_timeout: Duration,
    /// How long a connection that the gateway closes is read on until the client closes it too. Without it a client that
    /// is writing can lose its last frames.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub close_timeout: Duration,
    /// Maximum duration of a unary call.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub unary_timeout: Duration,
    /// Maximum concurrent requests that search the log for a start position. Further ones wait, within
    /// `unary_timeout`.
    pub lookups_max: usize,
    /// Maximum bytes of a request message.
    pub request_bytes_max: usize,
    /// Maximum bytes of a request message of RuleService: 1,000 rules of 2,048 characters have up to 6 MB.
    pub rules_request_bytes_max: usize,
    /// Maximum bytes of request headers.
    pub header_bytes_max: u32,
    /// How long a response may make no progress before its stream is reset. Sessions are exempt.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub send_timeout: Duration,
    /// Maximum unsent bytes of responses of all methods but Subscribe, in the process. Beyond it, the responses
    /// without progress for longest are ended.
    pub response_bytes_max: usize,
    /// The same for one connection. Beyond it, calls fail with RESPONSE_LIMIT.
    pub connection_response_bytes_max: usize,
    /// Maximum bytes of a stream that wait for the socket, plus one message.
    pub send_buffer_bytes_max: usize,
    /// When batches of a subscription are compressed.
    pub compression: Compression,
    /// Bytes of the journal that one GetCoverage verifies, and as many that it reads to find skipped messages.
    pub coverage_read_bytes_max: u64,
    /// Bytes of payloads that one TestRule reads.
    pub rule_test_read_bytes_max: u64,
    /// Longest interval of a TestRule.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rule_test_window_max: Duration,
    /// Maximum concurrent TestRule calls. Further calls wait.
    pub rule_tests_max: usize,
    /// Maximum concurrent GetCoverage calls that read the journal. Further calls wait.
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
    /// For every client that accepts an encoding, as most libraries do by default.
    Accepted,
}

/// Which clients may use server reflection, by which grpcurl and others learn the methods of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reflection {
    /// Every client that reaches the port.
    Open,
    /// Every accepted caller, whatever its rights; anonymous callers where they have roles.
    Authenticated,
    /// No client.
    Off,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 50051)),
            allow_unauthenticated: false,
            reflection: Reflection::Authenticated,
            tls: tls::Config::default(),
            connections_max: 20_000,
            // Half of them: no single peer can take all.
            connections_per_peer_max: 10_000,
            // Libraries connect again by themselves when they need to.
            idle_timeout: Duration::from_secs(300),
            streams_per_connection_max: 1_024,
            // Half a core or so, if each is a subscription that is cancelled at once.
            streams_per_second_max: 4_096,
            preface_timeout: Duration::from_secs(10),
            // 15 s + 15 s: a vanished peer is reaped within 35 s.
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(15),
            // Some round trips around the world.
            close_timeout: Duration::from_secs(2),
            unary_timeout: Duration::from_secs(30),
            // Far below the 512 threads of the runtime's pool, and more than disks do at once.
            lookups_max: 32,
            // A filter of 256 KiB and its framing fit four times over.
            request_bytes_max: 1 << 20,
            rules_request_bytes_max: 8 << 20,
            header_bytes_max: 16 << 10,
            send_timeout: Duration::from_secs(30),
            // Of 1 MiB, which no response exceeds by much, 64 in the process, and 4 on a connection.
            response_bytes_max: 64 << 20,
            connection_response_bytes_max: 4 << 20,
            send_buffer_bytes_max: 64 << 10,
            compression: Compression::Asked,
            // About a second of a disk.
            rule_test_read_bytes_max: 256 << 20,
            rule_test_window_max: Duration::from_secs(7 * 24 * 3_600),
            rule_tests_max: 1,
            coverage_read_bytes_max: 64 << 20,
            coverage_reads_max: 2,
        }
    }
}
