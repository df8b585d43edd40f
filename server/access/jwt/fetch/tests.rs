use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::access::jwt::testing::{OWN, key_set};

/// Starts a TLS server of one key set with a certificate for `localhost`. Returns its URL and its authority as PEM.
async fn tls_server() -> (url::Url, String) {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("random")).expect("signed");
    let key = KeyPair::generate().expect("random");
    let own = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = own.signed_by(&key, &authority).expect("signed");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS#8");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let settings = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("they fit");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let port = listener.local_addr().expect("it is bound").port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(settings));
    task::detached(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let _ = socket.read(&mut [0; 4_096]).await;
            let body = key_set(&[OWN.ed.jwk("a")]);
            let answer = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = socket.write_all(answer.as_bytes()).await;
            let _ = socket.shutdown().await;
        }
    });
    (format!("https://localhost:{port}/jwks").parse().expect("a URL"), authority.pem())
}

#[tokio::test]
async fn certificate_of_server_is_verified() {
    let ((url, authority), (_, other)) = (tls_server().await, tls_server().await);
    let dir = tempfile::tempdir().expect("a directory");
    let ca_file = dir.path().join("ca.pem");
    let (settings, clock) = (JwksConfig::default(), Clock::system());
    let mut source = JwtKeysConfig { url: Some(url.clone()), ..JwtKeysConfig::default() };
    let refused = fetch(&source, &settings, &clock).await.expect_err("an unknown authority");
    assert_eq!(refused.outcome(), "request", "{refused}");
    source.ca_file = Some(ca_file.clone());
    for (pem, outcome) in [
        (Some(authority.as_str()), "ok"),
        (Some(&other), "request"),
        (Some("no certificate"), "file"),
        (None, "file"),
        (Some(&authority), "ok"),
    ] {
        match pem {
            Some(pem) => std::fs::write(&ca_file, pem).expect("ours"),
            None => std::fs::remove_file(&ca_file).expect("ours"),
        }
        let fetched = fetch(&source, &settings, &clock).await;
        assert_eq!(fetched.as_ref().err().map_or("ok", FetchError::outcome), outcome, "{fetched:?}");
        assert!(fetched.is_err() || fetched.is_ok_and(|keys| keys.len() == 1));
    }
    // Another name than the certificate's.
    source.url = Some(url.as_str().replace("localhost", "127.0.0.1").parse().expect("a URL"));
    let refused = fetch(&source, &settings, &clock).await.expect_err("another name");
    assert_eq!(refused.outcome(), "request", "{refused}");
}
