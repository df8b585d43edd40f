//! Rotation of every kind of credential and key under load: sessions that need not end continue, and receive every record
//! exactly once. Keys of resume tokens (`token_key_files`) take effect at a restart, and are not among them.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use powerstream_gateway::access::CertificateConfig;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{SubscribeRequest, SubscribeResponse};
use powerstream_gateway::tls::ClientAuth;
use tonic::{Request, Status, Streaming};

use super::{ALL, Secret, bearing, configure, write_tokens};
use crate::harness::env::{Client, tls_client};
use crate::harness::ground_truth::expected;
use crate::harness::jwt::{Issuer, Key, config};
use crate::harness::pki::{Authority, Identity, VALID};
use crate::harness::{TestEnv, earliest, eventually, filters, in_time};

/// Sessions by bearer token, by JWT, and by client certificate.
const SESSIONS: [usize; 3] = [400, 300, 300];
/// Posts drawn per second while all is rotated.
const RATE: f64 = 5.0;
/// Posts that reach every session after each rotation.
const POSTS: usize = 10;
const SERVICE: &str = "spiffe://prod/ns/search/sa/indexer";

/// The gateway, its files, and the issuer of its tokens.
struct Rotation {
    env: TestEnv,
    servers: Authority,
    clients: Authority,
    issuer: Issuer,
}

impl Rotation {
    async fn start(tokens: &[&Secret], keys: &[&Key]) -> Self {
        let issuer = Issuer::start(Some(keys)).await;
        let mut env = TestEnv::without_gateway(Clock::system(), |config| config.rate = RATE, configure);
        write_tokens(env.dir(), tokens);
        env.settings.auth.jwt = vec![config(issuer.keys(), ALL)];
        env.settings.auth.jwks.refresh_interval = std::time::Duration::from_secs(1);
        env.settings.auth.jwks.unknown_key_interval = std::time::Duration::from_secs(1);
        env.settings.auth.certificates = vec![CertificateConfig { san: SERVICE.into(), principal: ALL.into() }];
        env.settings.reload.interval = std::time::Duration::from_millis(200);
        let mut own = Self { env, servers: Authority::new(), clients: Authority::new(), issuer };
        let server = own.servers.issue(&["localhost"], VALID);
        let (certificate, key) = (own.put("server.pem", &server.certificate), own.put("server.key", &server.key));
        let ca = own.put("clients.pem", &own.clients.pem());
        let crl = own.put("clients.crl", &own.clients.revocation_list(&[], VALID));
        let tls = &mut own.env.settings.grpc.tls;
        (tls.cert_file, tls.key_file, tls.client_ca_file) = (Some(certificate), Some(key), Some(ca));
        (tls.crl_files, tls.client_auth) = (vec![crl], ClientAuth::Optional);
        own.env.start_gateway().await;
        own.env.connected().await;
        own
    }

    fn put(&self, name: &str, content: &str) -> PathBuf {
        let path = self.env.dir().join(name);
        std::fs::write(&path, content).expect("the directory is ours");
        path
    }

    async fn client(&self, identity: Option<&Identity>) -> Result<Client, tonic::transport::Error> {
        tls_client(self.env.app().grpc_address(), &self.servers, identity).await
    }

    /// Whether a new connection with this identity is served.
    async fn is_served(&self, identity: Option<&Identity>, request: Request<SubscribeRequest>) -> bool {
        let Ok(mut client) = self.client(identity).await else { return false };
        in_time("an answer", client.subscribe(request)).await.is_ok()
    }
}

fn request(token: Option<&str>) -> Request<SubscribeRequest> {
    bearing(token, earliest(&filters::all()))
}

/// Sessions that are read in the background.
#[derive(Default)]
struct Sessions {
    /// Post ids of each, in the order in which they came.
    got: Vec<Arc<Mutex<Vec<u64>>>>,
    ends: Arc<Mutex<Vec<Status>>>,
}

impl Sessions {
    async fn open(&mut self, client: &mut Client, token: Option<&str>, count: usize) {
        for _ in 0..count {
            let stream = in_time("an answer", client.subscribe(request(token))).await.expect("it begins");
            let got = Arc::default();
            tokio::spawn(read(stream.into_inner(), Arc::clone(&got), self.ends.clone()));
            self.got.push(got);
        }
    }

    /// Waits until each session has so many posts more than the one that has most now.
    async fn receive(&self, after: &str, count: usize) {
        let lengths = || self.got.iter().map(|got| got.lock().len());
        let until = lengths().max().expect("there are sessions") + count;
        eventually(&format!("posts reach all sessions after {after}"), async || {
            let ends = self.ends.lock();
            assert!(ends.is_empty(), "{} sessions ended after {after}: {:?}", ends.len(), ends[0]);
            lengths().all(|length| length >= until)
        })
        .await;
    }
}

async fn read(mut stream: Streaming<SubscribeResponse>, got: Arc<Mutex<Vec<u64>>>, ends: Arc<Mutex<Vec<Status>>>) {
    loop {
        match stream.message().await {
            Ok(frame) => {
                if let Some(Frame::EventBatch(batch)) = frame.expect("a session ends with a status").frame {
                    got.lock().extend(batch.events.iter().map(|event| event.post_id));
                }
            }
            Err(end) => return ends.lock().push(end),
        }
    }
}

/// Tokens, keys of JWTs, the server's certificate, revocation list and CA of clients: one after the other.
async fn rotate(own: &mut Rotation, sessions: &Sessions, [used, unused]: [&Secret; 2], key: &Key) {
    let on = |secret: &Secret| request(Some(&secret.token.token));
    assert!(own.is_served(None, on(unused)).await);
    write_tokens(own.env.dir(), &[used]);
    eventually("the unused token is refused", async || !own.is_served(None, on(unused)).await).await;
    sessions.receive("an unused token was removed", POSTS).await;

    let next = Key::new("next");
    own.issuer.publish(Some(&[key, &next]));
    let jwt = next.token(600);
    eventually("the new key is known", async || own.is_served(None, request(Some(&jwt))).await).await;
    sessions.receive("a key of JWTs was added", POSTS).await;
    own.issuer.publish(None);
    let fetches = own.issuer.requests().len();
    eventually("the issuer is asked", async || own.issuer.requests().len() > fetches + 1).await;
    sessions.receive("the issuer was down", POSTS).await;

    // The new certificate is of a new authority, which only new clients know.
    let servers = Authority::new();
    let server = servers.issue(&["localhost"], VALID);
    own.put("server.pem", &server.certificate);
    own.put("server.key", &server.key);
    own.servers = servers;
    eventually("new connections see the new certificate", async || own.client(None).await.is_ok()).await;
    sessions.receive("the certificate of the gateway was replaced", POSTS).await;

    // One that no session uses: those of a revoked certificate end.
    let [other, revoked] = [own.clients.issue(&[SERVICE], VALID), own.clients.issue(&[SERVICE], VALID)];
    own.put("clients.crl", &own.clients.revocation_list(&[&revoked], VALID));
    eventually("the certificate is refused", async || !own.is_served(Some(&revoked), request(None)).await).await;
    assert!(own.is_served(Some(&other), request(None)).await, "another certificate is accepted");
    sessions.receive("a certificate was revoked", POSTS).await;

    let clients = Authority::new();
    own.put("clients.pem", &clients.pem());
    own.put("clients.crl", &clients.revocation_list(&[], VALID));
    let newest = clients.issue(&[SERVICE], VALID);
    eventually("the CA is replaced", async || own.is_served(Some(&newest), request(None)).await).await;
    assert!(!own.is_served(Some(&other), request(None)).await, "the CA before is not known any more");
    sessions.receive("the CA of clients was replaced", POSTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_under_load_ends_no_session() {
    let (used, unused, key) = (Secret::new(ALL, 1), Secret::new(ALL, 2), Key::new("first"));
    let mut own = Rotation::start(&[&used, &unused], &[&key]).await;
    let identity = own.clients.issue(&[SERVICE], VALID);
    let jwt = key.token(600);
    eventually("the keys are known", async || own.is_served(None, request(Some(&jwt))).await).await;
    let mut by_header = own.client(None).await.expect("it is accepted");
    let mut by_certificate = own.client(Some(&identity)).await.expect("it is accepted");
    let mut sessions = Sessions::default();
    sessions.open(&mut by_header, Some(&used.token.token), SESSIONS[0]).await;
    sessions.open(&mut by_header, Some(&jwt), SESSIONS[1]).await;
    sessions.open(&mut by_certificate, None, SESSIONS[2]).await;
    sessions.receive("they began", POSTS).await;

    rotate(&mut own, &sessions, [&used, &unused], &key).await;

    own.env.x.pause();
    let mut sent = Vec::new();
    eventually("all have come", async || {
        let truth = own.env.x.sent_posts();
        sent = expected(&truth, &filters::all()).iter().map(|post| post.post_id.0).collect();
        sessions.got.iter().all(|got| got.lock().len() >= sent.len())
    })
    .await;
    sent.sort_unstable();
    assert_eq!(sessions.got.len(), SESSIONS.iter().sum::<usize>());
    for got in &sessions.got {
        let mut got = got.lock().clone();
        got.sort_unstable();
        assert!(got == sent, "every record exactly once: {} of {}", got.len(), sent.len());
    }
    assert!(sessions.ends.lock().is_empty(), "no session ended: {:?}", sessions.ends.lock());
    eprintln!("{} sessions received {} posts each over six rotations", sessions.got.len(), sent.len());
}
