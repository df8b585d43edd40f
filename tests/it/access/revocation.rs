//! Certificates that are revoked while their sessions run, and health watches of callers that lose their right.

use std::path::PathBuf;

use powerstream_gateway::access::CertificateConfig;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::tls::ClientAuth;
use tonic::{Code, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::certificates::tls_client;
use super::{ALL, CATS, Secret, bearing, channel, configure, gateway, tags_of, write_tokens};
use crate::harness::pki::{Authority, Identity, VALID};
use crate::harness::{TestEnv, after, end_of, filters, in_time, last_token, latest, reason};

/// A gateway whose clients have certificates of `clients`: those with the name `cats.example` are the principal `cats`.
async fn gateway_with_certificates(servers: &Authority, clients: &Authority) -> (TestEnv, PathBuf, PathBuf) {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    write_tokens(env.dir(), &[]);
    let server = servers.issue(&["localhost"], VALID);
    let put = |name: &str, content: &str| {
        let path = env.dir().join(name);
        std::fs::write(&path, content).expect("the directory is ours");
        path
    };
    let (certificate, key) = (put("cert.pem", &server.certificate), put("key.pem", &server.key));
    let (ca, list) = (put("ca.pem", &clients.pem()), put("crl.pem", &clients.revocation_list(&[], VALID)));
    let revoked = put("revoked.yaml", "revoked: []\n");
    let tls = &mut env.settings.grpc.tls;
    (tls.cert_file, tls.key_file, tls.client_ca_file) = (Some(certificate), Some(key), Some(ca));
    (tls.client_auth, tls.crl_files) = (ClientAuth::Required, vec![list.clone()]);
    env.settings.auth.certificates = vec![CertificateConfig { san: "cats.example".into(), principal: CATS.into() }];
    env.settings.auth.revoked_file = Some(revoked.clone());
    env.start_gateway().await;
    env.connected().await;
    (env, list, revoked)
}

/// A revocation list and the file of revoked credentials end the sessions of their certificates, and no others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_certificate_ends_its_sessions_only() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let (mut env, list, revoked_file) = gateway_with_certificates(&servers, &clients).await;
    let identities: [Identity; 3] = std::array::from_fn(|_| clients.issue(&["cats.example"], VALID));
    let mut streams = Vec::new();
    for identity in &identities {
        let mut client = tls_client(&env, &servers, Some(identity)).await;
        streams.push(client.subscribe(latest(&filters::all())).await.expect("accepted").into_inner());
    }
    let [listed, named, kept] = &mut streams[..] else { panic!("three") };
    std::fs::write(&list, clients.revocation_list(&[&identities[0]], VALID)).expect("ours");
    let (_, end) = end_of(listed).await;
    assert_eq!((end.code(), reason(&end)), (Code::Unauthenticated, "CREDENTIALS_REVOKED"));
    let token = last_token(&end).to_owned();
    std::fs::write(&revoked_file, format!("revoked:\n  - {{ serial: \"{:x}\" }}\n", identities[1].serial))
        .expect("ours");
    let (_, end) = end_of(named).await;
    assert_eq!((end.code(), reason(&end)), (Code::Unauthenticated, "CREDENTIALS_REVOKED"));
    env.post(&[&["cats"]]);
    assert_eq!(tags_of(kept, 1).await, ["cats"], "the third continues");
    // The file of revoked credentials refuses calls; a revocation list refuses the handshake too.
    let mut client = tls_client(&env, &servers, Some(&identities[1])).await;
    let refused = client.subscribe(latest(&filters::all())).await.expect_err("revoked");
    assert_eq!(reason(&refused), "CREDENTIALS_INVALID");
    // A subscription continues with another certificate.
    let mut client = tls_client(&env, &servers, Some(&identities[2])).await;
    let mut resumed = client.subscribe(after(&token, &filters::all())).await.expect("it resumes").into_inner();
    assert_eq!(tags_of(&mut resumed, 1).await, ["cats"]);
}

async fn watch(env: &TestEnv, secret: &Secret, service: &str) -> Streaming<HealthCheckResponse> {
    let mut health = HealthClient::new(channel(env).await);
    let request = HealthCheckRequest { service: service.into() };
    in_time("an answer", health.watch(bearing(Some(&secret.token.token), request)))
        .await
        .expect("it begins")
        .into_inner()
}

async fn next(stream: &mut Streaming<HealthCheckResponse>) -> Result<ServingStatus, Status> {
    let next = in_time("a status", stream.message()).await?;
    Ok(next.expect("an end has a status").status())
}

/// A watch follows the right of its caller: it reports an account that the caller may not read any more as unknown, and
/// ends with the credential.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_watch_follows_right_of_caller() {
    let (all, cats) = (Secret::new(ALL, 1), Secret::new(CATS, 2));
    let env = gateway(&[&all, &cats]).await;
    let mut account = watch(&env, &cats, "main").await;
    let mut process = watch(&env, &all, "").await;
    let mut unknown = watch(&env, &all, "elsewhere").await;
    assert_eq!(next(&mut account).await.expect("a status"), ServingStatus::Serving);
    assert_eq!(next(&mut process).await.expect("a status"), ServingStatus::Serving);
    assert_eq!(next(&mut unknown).await.expect("a status"), ServingStatus::ServiceUnknown);
    assert_eq!(env.metric("principal_sessions"), 3.0, "watches count as sessions");
    write_tokens(env.dir(), &[&all]);
    let end = next(&mut account).await.expect_err("the credential is revoked");
    assert_eq!((end.code(), reason(&end)), (Code::Unauthenticated, "CREDENTIALS_REVOKED"));
    write_tokens(env.dir(), &[]);
    for stream in [&mut process, &mut unknown] {
        assert_eq!(reason(&next(stream).await.expect_err("revoked")), "CREDENTIALS_REVOKED");
    }
}
