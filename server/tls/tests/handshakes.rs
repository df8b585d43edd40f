//! Which clients are accepted.

use super::*;

/// The words of a refusal; `None` if the client is accepted.
async fn refusal(port: &TestPort, identity: Option<&Identity>) -> Option<String> {
    port.connect(identity).await.err().map(|error| error.to_string())
}

#[tokio::test]
async fn client_certificate_is_verified() {
    let (ca, foreign) = (Authority::new(), Authority::new());
    let revoked = ca.issue(&["client"], VALID);
    let intermediate = ca.intermediate();
    let below = intermediate.issue(&["client"], VALID);
    let chained = Identity { certificate: format!("{}{}", below.certificate, intermediate.pem()), ..below };
    let clients = [
        ("none", None, [None, None, Some("peer sent no certificates")]),
        ("valid", Some(ca.issue(&["client"], VALID)), [None, None, None]),
        ("chain", Some(chained), [None, None, None]),
        ("expired", Some(ca.issue(&["client"], 2020..2021)), [None, Some("expired"), Some("expired")]),
        (
            "not yet valid",
            Some(ca.issue(&["client"], 2080..2081)),
            [None, Some("not valid yet"), Some("not valid yet")],
        ),
        ("other CA", Some(foreign.issue(&["client"], VALID)), [None, Some("UnknownIssuer"), Some("UnknownIssuer")]),
        ("revoked", Some(revoked), [None, Some("Revoked"), Some("Revoked")]),
    ];
    let revoked = clients[6].1.as_ref().expect("the revoked one");
    let lists = [ca.revocation_list(&[revoked], VALID), intermediate.revocation_list(&[], VALID)];
    for (n, mode) in [ClientAuth::None, ClientAuth::Optional, ClientAuth::Required].into_iter().enumerate() {
        let mut files = TestFiles::new();
        if mode != ClientAuth::None {
            files = TestFiles::with_client_auth(mode, &ca);
            files.config.crl_files = vec![files.write("one.pem", &lists[0]), files.write("two.pem", &lists[1])];
        }
        let port = files.port().await;
        for (name, identity, expected) in &clients {
            for versions in [&BOTH_VERSIONS[..1], &BOTH_VERSIONS[1..]] {
                let config = Arc::new(client(&port.root, identity.as_ref(), versions));
                let result = port.handshake(&config).await;
                let refused = result.as_ref().err().map(ToString::to_string);
                match expected[n] {
                    None => assert_eq!(refused, None, "{mode:?}, {name}"),
                    Some(words) => assert!(
                        refused.as_ref().is_some_and(|text| text.contains(words)),
                        "{mode:?}, {name}: {refused:?}"
                    ),
                }
                let Ok(handshake) = result else { continue };
                let presented = identity.as_ref().filter(|_| mode != ClientAuth::None);
                let chain = handshake.identity.map_or(Vec::new(), |identity| identity.certificates.to_vec());
                let expected = presented.map_or(Vec::new(), |identity| certificates(&identity.certificate));
                assert_eq!(chain, expected, "{mode:?}, {name}: the identity is the chain");
            }
        }
    }
}

/// A list that is past its next update proves nothing any more, and a CA without a list is unknown.
#[tokio::test]
async fn outdated_or_missing_revocation_list_refuses_certificates() {
    let (ca, other) = (Authority::new(), Authority::new());
    let mut files = TestFiles::with_client_auth(ClientAuth::Optional, &ca);
    files.write("client_ca_file", ca.pem() + &other.pem());
    files.config.crl_files = vec![files.write("crl", ca.revocation_list(&[], 2020..2021))];
    let port = files.port().await;
    let outdated = refusal(&port, Some(&ca.issue(&["client"], VALID))).await.expect("refused");
    assert!(outdated.contains("revocation list expired"), "{outdated}");
    let unknown = refusal(&port, Some(&other.issue(&["client"], VALID))).await.expect("refused");
    assert!(unknown.contains("UnknownRevocationStatus"), "{unknown}");
    assert_eq!(refusal(&port, None).await, None);
}

#[tokio::test]
async fn resumption_is_not_offered_with_client_authentication() {
    let ca = Authority::new();
    let identity = ca.issue(&["client"], VALID);
    for (mode, expected) in [
        (ClientAuth::None, HandshakeKind::Resumed),
        (ClientAuth::Optional, HandshakeKind::Full),
        (ClientAuth::Required, HandshakeKind::Full),
    ] {
        let files = match mode {
            ClientAuth::None => TestFiles::new(),
            mode => TestFiles::with_client_auth(mode, &ca),
        };
        let port = files.port().await;
        for version in BOTH_VERSIONS {
            let config = Arc::new(client(&port.root, Some(&identity), &[version]));
            let first = port.handshake(&config).await.expect("accepted");
            let second = port.handshake(&config).await.expect("accepted");
            assert_eq!((first.kind, second.kind), (HandshakeKind::Full, expected), "{mode:?}, {version:?}");
        }
    }
}

#[tokio::test]
async fn protocol_is_agreed_by_alpn() {
    let port = TestFiles::new().port().await;
    for (offered, expected) in [
        (&["h2"][..], Ok(Some("h2"))),
        (&["http/1.1", "h2"], Ok(Some("h2"))),
        (&["http/1.1"], Err("known protocol")),
        (&[], Ok(None)),
    ] {
        let mut config = client(&port.root, None, BOTH_VERSIONS);
        config.alpn_protocols = offered.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        match (port.handshake(&Arc::new(config)).await, expected) {
            (Ok(handshake), Ok(protocol)) => {
                assert_eq!(handshake.protocol.as_deref(), protocol.map(str::as_bytes), "{offered:?}");
            }
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{offered:?}: {error}"),
            (found, expected) => panic!("{offered:?}: {:?}, not {expected:?}", found.map(|found| found.protocol)),
        }
    }
}

/// A ClientHello of this version, without the extension that offers newer ones; with that of TLS 1.2 if `is_complete`.
fn client_hello(minor: u8, is_complete: bool) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    // No session id; one cipher suite (TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA); no compression.
    hello.extend([0, 0, 2, 0xc0, 0x09, 1, 0]);
    if is_complete {
        // Extension `signature_algorithms` with ecdsa_secp256r1_sha256.
        hello.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    }
    let length = u8::try_from(hello.len()).expect("short");
    [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length], hello.as_slice()].concat()
}

#[tokio::test]
async fn version_below_minimum_is_refused() {
    /// Fatal alert `protocol_version` (RFC 8446, 6.2); the second byte of the version differs.
    const PROTOCOL_VERSION: [u8; 2] = [2, 70];
    let port = TestFiles::new().port().await;
    for minor in [1, 2] {
        let (result, _) = port.send(&client_hello(minor, false)).await;
        result.expect_err("TLS 1.0 and 1.1 are refused");
        let (result, received) = port.send(&client_hello(minor, true)).await;
        let error = result.expect_err("TLS 1.0 and 1.1 are refused").to_string();
        assert!(error.contains("Tls12NotOffered"), "{error}");
        assert_eq!(received[received.len() - 2..], PROTOCOL_VERSION, "{received:?}");
    }
    let mut files = TestFiles::new();
    files.config.min_version = MinVersion::Tls13;
    let port = files.port().await;
    for (version, is_accepted) in [(&version::TLS12, false), (&version::TLS13, true)] {
        let result = port.handshake(&Arc::new(client(&port.root, None, &[version]))).await;
        assert_eq!(result.is_ok(), is_accepted, "{version:?}");
    }
}

#[tokio::test]
async fn intermediate_certificates_are_sent() {
    let files = TestFiles::new();
    let intermediate = files.authority.intermediate();
    let identity = intermediate.issue(&["localhost"], VALID);
    files.write("cert_file", format!("{}{}", identity.certificate, intermediate.pem()));
    files.write("key_file", &identity.key);
    let handshake = files.port().await.connect(None).await.expect("the client trusts the root only");
    assert_eq!(handshake.server, certificates(&identity.certificate)[0]);
}
