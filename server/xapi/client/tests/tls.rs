//! TLS: a server with a certificate of the test's own authority, and the kinds of failures below HTTP.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;

use super::*;

/// A certificate authority, and a server for `127.0.0.1`.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        // A certificate with its issuer's names would count as self-signed.
        params.distinguished_name.push(DnType::CommonName, "authority of the test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, dir }
    }

    /// Returns a client that trusts this authority.
    pub(super) fn client(&self, proxy: Option<Url>) -> Client {
        let ca_file = Some(self.dir.path().join("ca.pem"));
        let options = ClientOptions { connect_timeout: DEADLINE, proxy, ca_file };
        Client::new(&options, &Clock::system()).expect("a client")
    }

    /// Serves one TLS session: reads the head of a request and answers with these bytes.
    pub(super) async fn accept(&self, socket: TcpStream, answer: &[u8]) -> TlsStream<TcpStream> {
        let mut stream = self.acceptor("127.0.0.1").accept(socket).await.expect("a TLS session");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a request"));
        }
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        stream.write_all(answer).await.expect("sent");
        stream.flush().await.expect("sent");
        stream
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("supported")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("the certificate's key");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

#[tokio::test]
async fn server_of_unknown_authority_is_rejected() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (client, name, trusted) in [
        (authority.client(None), "127.0.0.1", true),
        (authority.client(None), "192.0.2.1", false),
        (other.client(None), "127.0.0.1", false),
        (client(), "127.0.0.1", false),
    ] {
        let (listener, address) = listen().await;
        let request = request(&format!("https://{address}"));
        let (response, stream) = tokio::join!(client.connect(&request), async {
            let (socket, _) = listener.accept().await.expect("a connection");
            let mut stream = authority.acceptor(name).accept(socket).await.ok()?;
            // The client may have closed already.
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.ok()?;
            stream.flush().await.ok()?;
            Some(stream)
        });
        let failed = response.map(|response| response.status).map_err(|error| {
            assert!(error.detail.starts_with("invalid peer certificate: "), "{error}");
            error.kind
        });
        assert_eq!(failed, if trusted { Ok(200) } else { Err(ErrorKind::Tls) }, "{name}");
        if let Some(mut stream) = stream.filter(|_| trusted) {
            // An end without close_notify is an error.
            stream.read_to_end(&mut Vec::new()).await.expect("a request, and an announced end");
        }
    }
}

#[tokio::test]
async fn failure_before_request_is_classified() {
    let failed = async |url: &str, proxy: Option<String>, wait: Duration| {
        let proxy = proxy.map(|url| url.parse().expect("a URL"));
        let options = ClientOptions { connect_timeout: wait, proxy, ca_file: None };
        let client = Client::new(&options, &Clock::system()).expect("a client");
        let error = client.connect(&request(url)).await.err().expect("a failure");
        assert!(!error.to_string().contains(BEARER) && !error.detail.contains("api.x.com"), "{error}");
        error.kind
    };
    let (listener, address) = listen().await;
    let silent = Duration::from_millis(50);
    assert_eq!(failed(&format!("https://{address}"), None, silent).await, ErrorKind::Timeout, "no TLS session");
    let proxy = || Some(format!("http://{address}"));
    assert_eq!(failed("https://api.x.com", proxy(), silent).await, ErrorKind::Timeout, "no tunnel");
    drop(listener);
    assert_eq!(failed("https://api.x.com", proxy(), DEADLINE).await, ErrorKind::Connect, "no proxy");
    // A label of a name has at most 63 bytes: the resolver refuses it without the network.
    let unresolvable = Some(format!("http://{}.example.com:3128", "x".repeat(64)));
    assert_eq!(failed("https://api.x.com", unresolvable, DEADLINE).await, ErrorKind::Dns);
}

/// The server ends its side, or answers in another protocol, before there is a session.
#[tokio::test]
async fn failed_handshake_is_tls_failure() {
    for answer in ["", "220 mail.example.com ESMTP\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        for tunneled in [false, true] {
            let (listener, address) = listen().await;
            let proxy = tunneled.then(|| format!("http://{address}").parse().expect("a URL"));
            let options = ClientOptions { connect_timeout: DEADLINE, proxy, ca_file: None };
            let client = Client::new(&options, &Clock::system()).expect("a client");
            let request = request(&format!("https://{address}"));
            let (response, ()) = tokio::join!(client.connect(&request), async {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                if tunneled {
                    while !matches!(socket.read_u8().await, Ok(b'\n')) {}
                    send(&mut socket, "HTTP/1.1 200 OK\r\n\r\n").await;
                }
                // All of it is read, so that the close is no reset.
                while socket.read_u8().await.expect("a hello") != 0x16 {}
                let length = (socket.read_u32().await.expect("a header") & 0xffff) as usize;
                socket.read_exact(&mut vec![0; length]).await.expect("a hello");
                send(&mut socket, answer).await;
            });
            let error = response.err().expect("no session");
            assert_eq!(error.kind, ErrorKind::Tls, "{answer:?} tunneled: {tunneled}: {error}");
        }
    }
}

/// Bytes that are no TLS record, in the middle of a body.
#[tokio::test]
async fn broken_tls_session_is_cut() {
    let authority = Authority::new();
    let (listener, address) = listen().await;
    let (client, request) = (authority.client(None), request(&format!("https://{address}")));
    let (response, stream) = tokio::join!(client.connect(&request), async {
        let (socket, _) = listener.accept().await.expect("a connection");
        authority.accept(socket, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await
    });
    let (mut socket, _session) = stream.into_inner();
    send(&mut socket, b"HTTP/1.1 500 Internal Server Error\r\n\r\n").await;
    let end = next(&mut response.expect("an answer")).await.expect("an end").expect_err("an error");
    assert_eq!(end.kind, BodyErrorKind::Cut, "{end}");
}
