//! TLS on both ports, with real clients: tonic, HTTP/1.1 over rustls, and grpcurl where it is installed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::tls::ClientAuth;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use crate::harness::env::Client;
use crate::harness::ground_truth::assert_exact;
use crate::harness::pki::{Authority, Identity, VALID};
use crate::harness::process::Gateway;
use crate::harness::{Subscriber, TestEnv, eventually, filters, in_time, latest};

/// The certificate files of a gateway, and their authorities.
struct Pki {
    dir: PathBuf,
    servers: Authority,
    clients: Authority,
}

impl Pki {
    /// Writes all files: a server that requires client certificates on the gRPC port, and none on the admin port.
    fn write(dir: &Path, settings: &mut Settings) -> Self {
        let pki = Self { dir: dir.to_owned(), servers: Authority::new(), clients: Authority::new() };
        pki.put("ca.pem", &pki.clients.pem());
        pki.put("crl.pem", &pki.clients.revocation_list(&[], VALID));
        pki.put_server(&pki.servers.issue(&["localhost"], VALID));
        for tls in [&mut settings.grpc.tls, &mut settings.admin.tls] {
            (tls.cert_file, tls.key_file) = (Some(dir.join("cert.pem")), Some(dir.join("key.pem")));
        }
        let tls = &mut settings.grpc.tls;
        (tls.client_ca_file, tls.client_auth) = (Some(dir.join("ca.pem")), ClientAuth::Required);
        tls.crl_files = vec![dir.join("crl.pem")];
        settings.reload.interval = Duration::from_millis(100);
        pki
    }

    fn put(&self, name: &str, content: &str) {
        std::fs::write(self.dir.join(name), content).expect("the directory is ours");
    }

    fn put_server(&self, identity: &Identity) {
        self.put("cert.pem", &identity.certificate);
        self.put("key.pem", &identity.key);
    }
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(|found| found.expect("PEM")).collect()
}

/// A client of the gRPC port.
async fn client(
    address: SocketAddr,
    root: &str,
    identity: Option<&Identity>,
) -> Result<Client, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(root)).domain_name("localhost");
    if let Some(identity) = identity {
        tls = tls.identity(tonic::transport::Identity::from_pem(&identity.certificate, &identity.key));
    }
    let endpoint = Channel::from_shared(format!("https://{address}")).expect("a URI").tls_config(tls)?;
    let channel = in_time("a connection, or its end", endpoint.connect()).await?;
    Ok(Client::new(channel).max_decoding_message_size(2 << 20))
}

/// Whether a client with this identity can subscribe.
async fn is_served(address: SocketAddr, root: &str, identity: Option<&Identity>) -> bool {
    let Ok(mut client) = client(address, root, identity).await else { return false };
    in_time("an answer", client.subscribe(latest(&filters::all()))).await.is_ok()
}

/// A TLS connection without a client certificate.
async fn connect(address: SocketAddr, root: &str, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(root));
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("supported versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    in_time("a handshake, or its end", TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}

/// The response of the admin port.
pub async fn get(address: SocketAddr, root: &str, path: &str) -> String {
    let mut stream = connect(address, root, "http/1.1").await.expect("accepted");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.expect("open");
    let mut response = String::new();
    in_time("a response", stream.read_to_string(&mut response)).await.expect("closed in order");
    response
}

/// The certificate that new connections see.
async fn certificate(address: SocketAddr, root: &str) -> CertificateDer<'static> {
    let stream = connect(address, root, "h2").await.expect("a handshake");
    stream.get_ref().1.peer_certificates().expect("a server has one")[0].clone()
}

/// Whether a connection that sends these bytes ends without an answer.
async fn is_closed_silently(address: SocketAddr, bytes: &[u8]) -> bool {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(bytes).await.expect("open");
    let mut received = Vec::new();
    let _ = in_time("an end", stream.read_to_end(&mut received)).await;
    received.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_clients_use_both_ports_of_process() {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
    let dir = env.dir().to_owned();
    let pki = Pki::write(&dir, &mut env.settings);
    let gateway = Gateway::start(&env.settings, &dir).await;
    env.connected().await;
    let (grpc, admin, root) = (gateway.grpc(), gateway.admin(), pki.servers.pem());

    let identity = pki.clients.issue(&["consumer"], VALID);
    let mut client = client(grpc, &root, Some(&identity)).await.expect("accepted");
    let request = latest(&filters::all());
    let mut session = Subscriber::watching(Some(&env.x), &mut client, request).await.expect("the session begins");
    let sent = env.post_mix(300);
    session.posts(sent.len()).await;
    assert_exact("a client with TLS", &sent, &session.got);
    assert!(!is_served(grpc, &root, None).await, "a certificate is required");
    assert!(!is_served(grpc, &pki.clients.pem(), Some(&identity)).await, "the client knows another authority only");

    assert!(get(admin, &root, "/readyz").await.contains("200 OK"));
    let metrics = get(admin, &root, "/metrics").await;
    for line in [
        "powerstream_gateway_tls_certificate_expiry_timestamp_seconds{listener=\"grpc\"} 3786912000",
        "powerstream_gateway_tls_certificate_expiry_timestamp_seconds{listener=\"admin\"} 3786912000",
        "powerstream_gateway_reload_last_successful{what=\"grpc.tls\"} 1",
        "powerstream_gateway_reload_last_successful{what=\"admin.tls\"} 1",
        "powerstream_gateway_tls_handshakes_total{listener=\"grpc\",outcome=\"completed\",version=\"1.3\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(connect(admin, &root, "h2").await.is_ok() && connect(grpc, &root, "http/1.1").await.is_err());

    let line = "closed connection of plain-text client to TLS port";
    for _ in 0..3 {
        assert!(is_closed_silently(grpc, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await);
        assert!(is_closed_silently(admin, b"GET /livez HTTP/1.1\r\n\r\n").await);
    }
    eventually("it is logged", async || gateway.log().matches(line).count() >= 2).await;
    assert_eq!(gateway.log().matches(line).count(), 2, "once a minute for each peer and port");
    grpcurl(grpc, &pki, &identity);
    // The stream is still open.
    let more = env.post_mix(10);
    session.posts(sent.len() + more.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_client_of_plain_port_is_logged() {
    let env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let root = Authority::new().pem();
    for _ in 0..3 {
        for address in [gateway.grpc(), gateway.admin()] {
            assert!(connect(address, &root, "h2").await.is_err());
        }
        assert!(is_closed_silently(gateway.admin(), b"\x16\x03\x01\x00\x05hello").await);
    }
    let line = "closed connection of TLS client to port without TLS";
    eventually("it is logged", async || gateway.log().matches(line).count() >= 2).await;
    assert_eq!(gateway.log().matches(line).count(), 2, "once a minute for each peer and port");
}

/// Certificate, CA and revocation list change while a session streams: it continues, and new connections are held to the
/// new files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_under_stream_ends_no_session() {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
    let dir = env.dir().to_owned();
    let pki = Pki::write(&dir, &mut env.settings);
    env.start_gateway().await;
    env.connected().await;
    let (address, root) = (env.app().grpc_address(), pki.servers.pem());
    let identity = pki.clients.issue(&["consumer"], VALID);
    let mut first = client(address, &root, Some(&identity)).await.expect("accepted");
    let request = latest(&filters::all());
    let mut session = Subscriber::watching(Some(&env.x), &mut first, request).await.expect("the session begins");
    let mut sent = env.post_mix(50);
    session.posts(sent.len()).await;

    // The certificate before its key: in between the pair does not match.
    let intermediate = pki.servers.intermediate();
    let mut next = intermediate.issue(&["localhost"], VALID);
    next.certificate.push_str(&intermediate.pem());
    let before = certificate(address, &root).await;
    pki.put("cert.pem", &next.certificate);
    let failed = "reload_last_successful";
    eventually("the pair does not match", async || env.metric(failed) == 0.0).await;
    assert_eq!(certificate(address, &root).await, before, "the last good pair stays");
    pki.put("key.pem", &next.key);
    eventually("the pair matches on both ports", async || env.metric(failed) == 2.0).await;
    assert_eq!(certificate(address, &root).await, certificates(&next.certificate)[0]);
    sent.extend(env.post_mix(50));
    session.posts(sent.len()).await;

    // The certificate of the client is revoked, then its CA is replaced.
    pki.put("crl.pem", &pki.clients.revocation_list(&[&identity], VALID));
    eventually("it is revoked", async || !is_served(address, &root, Some(&identity)).await).await;
    let other = pki.clients.issue(&["other"], VALID);
    assert!(is_served(address, &root, Some(&other)).await);
    let clients = Authority::new();
    pki.put("ca.pem", &clients.pem());
    pki.put("crl.pem", &clients.revocation_list(&[], VALID));
    let newest = clients.issue(&["newest"], VALID);
    eventually("the CA is replaced", async || is_served(address, &root, Some(&newest)).await).await;
    assert!(!is_served(address, &root, Some(&other)).await);
    sent.extend(env.post_mix(50));
    session.posts(sent.len()).await;
    assert_exact("the session from before", &sent, &session.got);
}

/// Clients that stop within a handshake keep no other out, and end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_handshakes_block_no_client() {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
    let dir = env.dir().to_owned();
    let pki = Pki::write(&dir, &mut env.settings);
    env.settings.grpc.tls.handshakes_max = 4;
    env.settings.grpc.tls.handshake_timeout = Duration::from_secs(5);
    env.start_gateway().await;
    env.connected().await;
    let (address, root) = (env.app().grpc_address(), pki.servers.pem());
    let mut stalled = Vec::new();
    for n in 0..60 {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(&b"\x16\x03\x01\x02\x00\x01"[..n % 7]).await.expect("open");
        stalled.push(stream);
    }
    let identity = pki.clients.issue(&["consumer"], VALID);
    // The first bytes of a stalled client may come later than the client's own, and take its slot.
    eventually("a client is served", async || is_served(address, &root, Some(&identity)).await).await;
    for mut stream in stalled {
        let mut received = Vec::new();
        let _ = in_time("each ends", stream.read_to_end(&mut received)).await;
    }
    assert!(is_served(address, &root, Some(&identity)).await);
}

/// Lists the services with grpcurl, if it is installed or named by `GRPCURL`.
fn grpcurl(address: SocketAddr, pki: &Pki, identity: &Identity) {
    let program = std::env::var("GRPCURL").unwrap_or_else(|_| "grpcurl".to_owned());
    for (name, content) in
        [("root.pem", &pki.servers.pem()), ("client.pem", &identity.certificate), ("client.key", &identity.key)]
    {
        pki.put(name, content);
    }
    let path = |name: &str| pki.dir.join(name).display().to_string();
    let listed = Command::new(program)
        .args(["-cacert", &path("root.pem"), "-cert", &path("client.pem"), "-key", &path("client.key")])
        .args(["-authority", "localhost", &address.to_string(), "list"])
        .output();
    let Ok(listed) = listed else {
        eprintln!("SKIPPED: grpcurl is not installed");
        return;
    };
    let (out, error) = (String::from_utf8_lossy(&listed.stdout), String::from_utf8_lossy(&listed.stderr));
    assert!(out.contains("powerstream.gateway.v1.StreamService"), "{out}{error}");
}
