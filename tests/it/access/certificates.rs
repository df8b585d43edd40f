//! Client certificates as credentials, and limits of principals.

use powerstream_gateway::access::{CertificateConfig, LimitsMode};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::tls::ClientAuth;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Request};

use super::{ALL, CATS, Secret, bearing, configure, subscribe, tags_of, write_tokens};
use crate::harness::env::Client;
use crate::harness::pki::{Authority, Identity, VALID};
use crate::harness::{TestEnv, eventually, filters, in_time, latest, reason};

const SEARCH: &str = "spiffe://prod/ns/search/sa/indexer";

pub(super) async fn tls_client(env: &TestEnv, root: &Authority, identity: Option<&Identity>) -> Client {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(root.pem())).domain_name("localhost");
    if let Some(identity) = identity {
        tls = tls.identity(tonic::transport::Identity::from_pem(&identity.certificate, &identity.key));
    }
    let endpoint = Channel::from_shared(format!("https://{}", env.app().grpc_address())).expect("a URI");
    let channel = in_time("a connection", endpoint.tls_config(tls).expect("good files").connect()).await;
    Client::new(channel.expect("accepted"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_names_map_to_principals() {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    let all = Secret::new(ALL, 1);
    write_tokens(env.dir(), &[&all]);
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = servers.issue(&["localhost"], VALID);
    let put = |name: &str, content: &str| {
        let path = env.dir().join(name);
        std::fs::write(&path, content).expect("the directory is ours");
        path
    };
    let files = [("cert.pem", &server.certificate), ("key.pem", &server.key), ("ca.pem", &clients.pem())];
    let [certificate, key, ca] = files.map(|(name, content)| put(name, content));
    let tls = &mut env.settings.grpc.tls;
    (tls.cert_file, tls.key_file, tls.client_ca_file) = (Some(certificate), Some(key), Some(ca));
    tls.client_auth = ClientAuth::Optional;
    let own = |san: &str| CertificateConfig { san: san.into(), principal: CATS.into() };
    env.settings.auth.certificates = vec![own("spiffe://prod/ns/search/*"), own("cats.example")];
    env.start_gateway().await;
    env.connected().await;
    let known = clients.issue(&[SEARCH], VALID);
    let mut client = tls_client(&env, &servers, Some(&known)).await;
    let mut stream = client.subscribe(latest(&filters::all())).await.expect("accepted").into_inner();
    env.post(&[&["dogs"], &["cats"]]);
    assert_eq!(tags_of(&mut stream, 1).await, ["cats"], "the posts of its principal");
    // Names that are not configured, or ambiguous: the same as no valid credential.
    for names in [
        &["spiffe://prod/ns/search-evil/sa/indexer"][..],
        &["spiffe://prod/ns/search"],
        &["cats.example.evil"],
        &[SEARCH, "spiffe://prod/ns/admin"],
    ] {
        let identity = clients.issue(names, VALID);
        let mut client = tls_client(&env, &servers, Some(&identity)).await;
        let refused = client.subscribe(latest(&filters::all())).await.expect_err("refused");
        assert_eq!((refused.code(), reason(&refused)), (Code::Unauthenticated, "CREDENTIALS_INVALID"), "{names:?}");
    }
    // A header is asked first, and a bad one is not replaced by the certificate.
    let mut stream = subscribe(&mut client, &all, latest(&filters::all())).await.expect("accepted");
    env.post(&[&["dogs"]]);
    assert_eq!(tags_of(&mut stream, 1).await, ["dogs"]);
    let refused = client.subscribe(bearing(Some("psg_"), latest(&filters::all()))).await.expect_err("refused");
    assert_eq!(reason(&refused), "CREDENTIALS_INVALID");
    let mut client = tls_client(&env, &servers, None).await;
    let refused = client.subscribe(latest(&filters::all())).await.expect_err("refused");
    assert_eq!(reason(&refused), "CREDENTIALS_MISSING");
}

/// A principal at its limit of sessions is refused, the others are not; in the mode `observe` it is counted alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_limit_binds_its_principal_only() {
    for mode in [LimitsMode::Enforce, LimitsMode::Observe] {
        let (all, cats) = (Secret::new(ALL, 1), Secret::new(CATS, 2));
        let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
        env.settings.roles[1].limits.sessions = Some(3);
        env.settings.limits.mode = mode;
        write_tokens(env.dir(), &[&all, &cats]);
        env.start_gateway().await;
        env.connected().await;
        let mut client = env.client().await;
        let mut open = Vec::new();
        let mut refused = 0;
        for _ in 0..5 {
            match subscribe(&mut client, &cats, latest(&filters::all())).await {
                Ok(stream) => open.push(stream),
                Err(status) => {
                    assert_eq!((status.code(), reason(&status)), (Code::ResourceExhausted, "SESSION_LIMIT"));
                    refused += 1;
                }
            }
        }
        let is_enforced = mode == LimitsMode::Enforce;
        assert_eq!((open.len(), refused), if is_enforced { (3, 2) } else { (5, 0) });
        assert_eq!(env.metric("limit_reached_total"), 2.0, "counted alike");
        for _ in 0..10 {
            open.push(subscribe(&mut client, &all, latest(&filters::all())).await.expect("no limit"));
        }
        open.truncate(1);
        eventually("sessions have ended", async || env.metric("principal_sessions") == 1.0).await;
        subscribe(&mut client, &cats, latest(&filters::all())).await.expect("room again");
    }
}

/// Calls beyond the rate of a principal are refused with the time to wait; another principal's are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_limit_binds_its_principal_only() {
    use powerstream_gateway::proto::ListStreamsRequest;
    let (all, cats) = (Secret::new(ALL, 1), Secret::new(CATS, 2));
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    env.settings.roles[1].limits.calls_per_second = Some(1);
    env.settings.limits.refusals_per_second = 0;
    write_tokens(env.dir(), &[&all, &cats]);
    env.start_gateway().await;
    let mut client = env.client().await;
    let mut list = async |secret: &Secret| {
        let request: Request<_> = secret.on(ListStreamsRequest::default());
        in_time("an answer", client.list_streams(request)).await.map(|_| ())
    };
    let mut refused = None;
    for _ in 0..100 {
        refused = refused.or(list(&cats).await.err());
        list(&all).await.expect("no limit");
    }
    let refused = refused.expect("100 calls take less than 100 s");
    assert_eq!((refused.code(), reason(&refused)), (Code::ResourceExhausted, "CALL_LIMIT"));
    let details = tonic_types::StatusExt::get_details_retry_info(&refused).expect("it has a delay");
    assert!(details.retry_delay.is_some_and(|delay| !delay.is_zero()));
}
