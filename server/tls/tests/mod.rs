//! Tests of TLS with real files and sockets on loopback.
//!
//! `files` is the table of usable and unusable files, `handshakes` that of accepted and refused clients, `limits` contains
//! clients that speak no TLS or do not complete their handshake, `reload` replaced files. `pki` is shared with the
//! integration tests and issues the certificates.

mod files;
mod handshakes;
mod limits;
#[path = "../../../tests/it/harness/pki.rs"]
pub(crate) mod pki;
mod reload;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion, version};

use self::pki::{Authority, Identity, VALID};
use super::*;
use crate::clock::Clock;
use crate::model::UnixMillis;
use crate::telemetry::metrics::Registry;

const PORT: Port = Port { section: "grpc", path: "grpc.tls", protocols: &[b"h2"] };
const BOTH_VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The files of a section in a directory, and the authority of its server.
struct TestFiles {
    dir: TempDir,
    authority: Authority,
    config: Config,
}

impl TestFiles {
    /// Writes a valid pair.
    fn new() -> Self {
        let (dir, authority) = (tempfile::tempdir().expect("a directory"), Authority::new());
        let config = Config {
            cert_file: Some(dir.path().join("cert_file")),
            key_file: Some(dir.path().join("key_file")),
            ..Config::default()
        };
        let files = Self { dir, authority, config };
        files.write_pair(&files.authority.issue(&["localhost"], VALID));
        files
    }

    /// Writes a valid pair and the CA of clients.
    fn with_client_auth(client_auth: ClientAuth, ca: &Authority) -> Self {
        let mut files = Self::new();
        files.config.client_auth = client_auth;
        files.config.client_ca_file = Some(files.write("client_ca_file", ca.pem()));
        files
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).expect("the directory is ours");
        path
    }

    fn write_pair(&self, identity: &Identity) {
        self.write("cert_file", &identity.certificate);
        self.write("key_file", &identity.key);
    }

    async fn port(&self) -> TestPort {
        self.port_with(Clock::system()).await
    }

    async fn port_with(&self, clock: Clock) -> TestPort {
        let registry = Registry::new(UnixMillis(0));
        let metrics = registry.process(Metrics::register);
        let tls = TlsListener::load(PORT, &self.config, &clock, &metrics).expect("the files are usable");
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        TestPort { tls, tcp, registry, root: self.authority.pem() }
    }
}

/// A port with TLS.
struct TestPort {
    tls: Arc<TlsListener>,
    tcp: TcpListener,
    registry: Registry,
    /// Certificate of the authority of its server.
    root: String,
}

/// What both sides have of a completed handshake.
struct Handshake {
    identity: Option<PeerIdentity>,
    /// Certificate of the server.
    server: CertificateDer<'static>,
    kind: HandshakeKind,
    protocol: Option<Vec<u8>>,
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(|found| found.expect("PEM")).collect()
}

/// Configuration of a client that trusts a root.
fn client(root: &str, identity: Option<&Identity>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(root));
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("supported versions")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(certificates(&identity.certificate), key).expect("a pair")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

impl TestPort {
    /// Connects, completes the handshake, and passes a byte.
    async fn handshake(&self, config: &Arc<ClientConfig>) -> Result<Handshake, HandshakeError> {
        let address = self.tcp.local_addr().expect("bound");
        let connecting = async {
            let tcp = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").expect("a name");
            let mut stream = TlsConnector::from(config.clone()).connect(name, tcp).await?;
            let mut byte = [0];
            // With TLS 1.3 the server may refuse only now.
            stream.read_exact(&mut byte).await?;
            Ok::<_, std::io::Error>(stream)
        };
        let accepting = async {
            let (tcp, _) = self.tcp.accept().await.map_err(HandshakeError::Failed)?;
            let (mut stream, identity) = self.tls.accept(tcp, PEER).await?;
            stream.write_all(b"x").await.map_err(HandshakeError::Failed)?;
            stream.flush().await.map_err(HandshakeError::Failed)?;
            Ok(identity)
        };
        let (client, server) = tokio::join!(connecting, accepting);
        let identity = server?;
        let client = client.map_err(HandshakeError::Failed)?;
        let session = client.get_ref().1;
        Ok(Handshake {
            identity,
            server: session.peer_certificates().expect("a server has one")[0].clone(),
            kind: session.handshake_kind().expect("complete"),
            protocol: session.alpn_protocol().map(<[u8]>::to_vec),
        })
    }

    /// Completes a handshake with this identity, with each version of TLS.
    async fn connect(&self, identity: Option<&Identity>) -> Result<Handshake, HandshakeError> {
        self.handshake(&Arc::new(client(&self.root, identity, BOTH_VERSIONS))).await
    }

    /// Connects without TLS, sends these bytes, and returns the result of the server and all that the client received.
    async fn send(&self, bytes: &[u8]) -> (Result<(), HandshakeError>, Vec<u8>) {
        let address = self.tcp.local_addr().expect("bound");
        let mut tcp = TcpStream::connect(address).await.expect("it listens");
        let (accepted, _) = self.tcp.accept().await.expect("connected");
        tcp.write_all(bytes).await.expect("connected");
        let result = self.tls.accept(accepted, PEER).await.map(drop);
        let mut received = Vec::new();
        // Closed or reset.
        let _ = tcp.read_to_end(&mut received).await;
        (result, received)
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.registry.encode();
        let line =
            text.lines().find(|line| line.strip_prefix("powerstream_gateway_").is_some_and(|l| l.starts_with(name)));
        let line = line.unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    }
}
