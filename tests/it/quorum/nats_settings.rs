//! Settings of the connection to NATS, and servers that cannot be used.

use std::net::SocketAddr;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::quorum::{NatsConfig, NatsConnection, NatsTlsConfig, ServerError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::servers::config;
use crate::harness::eventually::eventually;

/// The largest message of X by default.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A server that introduces itself with this version and limit, and answers pings.
async fn introduces_itself(version: &str, max_payload: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let info = format!(
        "INFO {{\"server_id\":\"S\",\"server_name\":\"n1\",\"version\":\"{version}\",\"go\":\"go1\",\
         \"host\":\"127.0.0.1\",\"port\":4222,\"headers\":true,\"max_payload\":{max_payload},\
         \"proto\":1,\"client_id\":1}}\r\n"
    );
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (from, mut to) = client.into_split();
            to.write_all(info.as_bytes()).await.ok();
            let mut lines = BufReader::new(from).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line.starts_with("PING") {
                    to.write_all(b"PONG\r\n").await.ok();
                }
            }
        }
    });
    address
}

async fn start(config: &NatsConfig) -> Result<NatsConnection, String> {
    NatsConnection::start(config, "test", &Clock::system()).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_server_is_reported() {
    let needed = MESSAGE_BYTES_MAX + (64 << 10);
    let old = |version: &str| Err(ServerError::Version { name: "n1".into(), version: version.into() });
    let small = |found| Err(ServerError::MaxPayload { name: "n1".into(), found, needed });
    for (version, max_payload, expected) in [
        ("2.12.0", needed, Ok(())),
        ("2.15.3", 8 << 20, Ok(())),
        ("2.11.9", 8 << 20, old("2.11.9")),
        ("1.4.1", 8 << 20, old("1.4.1")),
        ("2.15.3", 1 << 20, small(1 << 20)),
        ("2.15.3", needed - 1, small(needed - 1)),
    ] {
        let address = introduces_itself(version, max_payload).await;
        let connection = start(&config([address])).await.expect("the settings are good");
        let mut checked = connection.check_server(MESSAGE_BYTES_MAX);
        eventually("it is connected", async || {
            checked = connection.check_server(MESSAGE_BYTES_MAX);
            checked != Err(ServerError::NotConnected)
        })
        .await;
        assert_eq!(checked, expected, "{version} {max_payload}");
    }
}

#[tokio::test]
async fn unusable_settings_name_their_key() {
    let good = config([SocketAddr::from(([127, 0, 0, 1], 1))]);
    let connection = start(&good).await.expect("no server is needed to start");
    assert_eq!(connection.check_server(MESSAGE_BYTES_MAX), Err(ServerError::NotConnected));
    let dir = tempfile::tempdir().expect("a directory");
    let (missing, empty) = (dir.path().join("missing"), dir.path().join("empty"));
    std::fs::write(&empty, "").expect("the directory is ours");
    let tls = |tls: NatsTlsConfig| NatsConfig { tls, ..good.clone() };
    let default = NatsTlsConfig::default;
    for (config, expected) in [
        (NatsConfig { credentials_file: Some(missing.clone()), ..good.clone() }, "replication.nats.credentials_file"),
        (NatsConfig { credentials_file: Some(empty.clone()), ..good.clone() }, "replication.nats.credentials_file"),
        (tls(NatsTlsConfig { ca_file: Some(missing.clone()), ..default() }), "replication.nats.tls"),
        (tls(NatsTlsConfig { ca_file: Some(empty.clone()), ..default() }), "contains no certificate"),
        (tls(NatsTlsConfig { cert_file: Some(empty.clone()), ..default() }), "set both"),
        (
            tls(NatsTlsConfig { cert_file: Some(empty.clone()), key_file: Some(missing.clone()), ..default() }),
            "missing",
        ),
    ] {
        let error = start(&config).await.err().expect("it cannot be used");
        assert!(error.contains(expected), "{error}");
    }
}
