//! TLS, through a proxy that ends it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::example::Example;
use super::language::Language;
use super::network::Network;
use super::printed::assert_is;
use crate::harness::{TestEnv, ground_truth};

/// An authority of our own; the file has its certificate.
fn authority(dir: &Path, name: &str) -> (CertifiedIssuer<'static, KeyPair>, PathBuf) {
    let mut params = CertificateParams::new([]).expect("no names are good names");
    // Its own: a certificate whose names are its issuer's passes for one that signed itself.
    params.distinguished_name.push(DnType::CommonName, "an authority for a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
    let path = dir.join(name);
    std::fs::write(&path, issuer.pem()).expect("the directory is ours");
    (issuer, path)
}

fn acceptor(authority: &CertifiedIssuer<'static, KeyPair>) -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, authority).expect("the authority signs it");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("they are supported")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("the key is the certificate's");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

pub async fn it_speaks_tls_and_trusts_only_whom_it_is_told_to_trust(language: Language) {
    let mut env = TestEnv::new().await;
    let dir = |name: &str| {
        let dir = env.dir().join(name);
        std::fs::create_dir(&dir).expect("the directory is ours");
        dir
    };
    let (good, bad) = (dir("good"), dir("bad"));
    let (ours, ours_file) = authority(&good, "ca.pem");
    let (_, other_file) = authority(&bad, "ca.pem");
    let network = Network::start(env.app().grpc_address(), Some(acceptor(&ours))).await;
    let credential = good.join("credential");
    std::fs::write(&credential, "secret-of-this-test\n").expect("the directory is ours");
    let addr = format!("localhost:{}", network.port());
    let example = |dir: &Path, ca: &Path| {
        let (ca, credential) = (ca.display().to_string(), credential.display().to_string());
        Example::new(language, dir, &format!("dns:///{addr}")).with_variable("GATEWAY_CA_FILE", &ca).with(&[
            "--tls",
            "--token-file",
            &credential,
        ])
    };

    let mut trusting = example(&good, &ours_file);
    trusting.start();
    trusting.says("caught up: ").await;
    assert_eq!(network.handshakes(), 1, "it spoke TLS, and HTTP/2 in it");
    let sent = env.post_mix(30);
    trusting.prints(sent.len()).await;
    let truth = ground_truth::expected(&sent, &Default::default());
    for (line, post) in trusting.life().lines().iter().zip(&truth) {
        assert_is(language.name(), line, post);
    }
    trusting.stop().await;

    let mut wary = example(&bad, &other_file);
    wary.start();
    wary.says("; reconnecting in ").await;
    assert!(wary.life().stderr().contains("disconnected: "), "{}", wary.life().stderr());
    wary.stop().await;
    assert_eq!(wary.cursor(), None, "it believes nothing of an unknown server");
    assert_eq!(wary.life().all_lines(), [], "nor anything that it sends");
    assert_eq!(network.handshakes(), 1, "no handshake was ended with it");
    for words in [trusting.life().stderr(), wary.life().stderr()] {
        assert!(!words.contains("secret-of-this-test"), "a credential is never printed");
    }
}
