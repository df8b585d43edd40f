//! No credential is shown anywhere (I17): canaries in every kind of credential, with the log at trace level.

mod search;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use parking_lot::Mutex;
use powerstream_gateway::access::{CertificateConfig, PrincipalConfig, Right, RoleConfig, RoleLimits, TagsConfig};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::proto::admin_service_client::AdminServiceClient;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{
    GetConfigRequest, ListAccountsRequest, ListSessionsRequest, SubscribeRequest, TagFilter, WhoAmIRequest,
};
use powerstream_gateway::tls::ClientAuth;
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

use self::search::{Canary, Place};
use crate::harness::env::{BEARER, Client, tls_client};
use crate::harness::jwt::{Issuer, Key, config};
use crate::harness::pki::{Authority, Identity, VALID};
use crate::harness::probe::{exchange, get};
use crate::harness::process::Gateway;
use crate::harness::tokens::{Secret, bearing, tokens_file, write_tokens};
use crate::harness::{TestEnv, eventually, filters, in_time, latest};
use crate::hostile::command::{gateway, run};

/// A word that is no secret and comes to every place in the way of a credential: the search must find it everywhere.
const PLANTED: &str = "planted-where-a-canary-may-not-be";
/// A bearer that X refuses.
const WRONG: &str = "AAAAwrongOneThatIsSecret";
/// Bearer token with which the gateway fetches keys.
const JWKS_BEARER: &str = "jwks-bearer-ThatIsSecret";
/// Content of a token key file.
const TOKEN_KEY: &str = "token-key-of-32-bytes-or-more-ThatIsSecret";
/// What an operator pasted into a file in the place of a key.
const PASTED: &str = "cGFzdGVkLWtleS1UaGF0Tm9ib2R5TWF5U2Vl";
/// Credentials of another scheme than Bearer.
const BASIC: &str = "dXNlcjpwYXNzd29yZC1UaGF0Tm9ib2R5TWF5U2Vl";
const READER: &str = "reader";
const NAME: &str = "spiffe://test/reader";

/// A collector of spans.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, u16) {
        let own = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(own.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (own, port)
    }
}

/// All credentials, and their files.
struct Credentials {
    dir: PathBuf,
    servers: Authority,
    clients: Authority,
    server: Identity,
    client: Identity,
    foreign: Identity,
    token: Secret,
    refused: Secret,
    key: Key,
    jwts: Vec<String>,
}

impl Credentials {
    fn new(dir: &Path) -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let (key, unknown_key) = (Key::new("known"), Key::new("unknown"));
        let tampered = key.token(500).split_at(20).0.to_owned() + key.token(501).split_at(20).1;
        Self {
            dir: dir.to_owned(),
            server: servers.issue(&["localhost"], VALID),
            client: clients.issue(&[NAME], VALID),
            foreign: Authority::new().issue(&[NAME], VALID),
            token: Secret::new(READER, 1),
            refused: Secret::new(READER, 2),
            jwts: vec![key.token(600), key.token(-600), unknown_key.token(600), tampered + "x"],
            servers,
            clients,
            key,
        }
    }

    fn put(&self, name: &str, content: &str) -> Option<PathBuf> {
        let path = self.dir.join(name);
        std::fs::write(&path, content).expect("the directory is ours");
        Some(path)
    }

    fn write(&self, settings: &mut Settings, issuer: &Issuer) {
        let tls = &mut settings.grpc.tls;
        (tls.cert_file, tls.key_file) =
            (self.put("server.pem", &self.server.certificate), self.put("server.key", &self.server.key));
        (tls.client_ca_file, tls.client_auth) = (self.put("clients.pem", &self.clients.pem()), ClientAuth::Optional);
        settings.token_key_files = self.put("token.key", TOKEN_KEY).into_iter().collect();
        settings.auth.token_files = vec![tokens_file(&self.dir)];
        settings.auth.certificates = vec![CertificateConfig { san: NAME.into(), principal: READER.into() }];
        let mut keys = issuer.keys();
        keys.bearer_file = self.put("jwks.bearer", JWKS_BEARER);
        settings.auth.jwt = vec![config(keys, READER)];
        settings.auth.jwks.refresh_interval = Duration::from_secs(1);
        settings.auth.jwks.unknown_key_interval = Duration::from_secs(1);
        let tags = TagsConfig { allow: vec!["cats".into()], ..TagsConfig::default() };
        settings.roles = vec![RoleConfig {
            name: READER.into(),
            accounts: vec!["main".into()],
            rights: vec![Right::Read, Right::Status, Right::Admin],
            tags: Some(tags),
            rule_sets: None,
            limits: RoleLimits::default(),
        }];
        settings.principals = vec![PrincipalConfig { name: READER.into(), roles: vec![READER.into()] }];
        settings.reload.interval = Duration::from_millis(200);
        write_tokens(&self.dir, &[&self.token]);
    }

    async fn client(&self, gateway: &Gateway, identity: Option<&Identity>) -> Result<Client, tonic::transport::Error> {
        tls_client(gateway.grpc(), &self.servers, identity).await
    }

    /// Everything that may be shown nowhere.
    fn canaries(&self) -> Vec<Canary> {
        let mut all = vec![
            Canary::new("bearer of X", BEARER),
            Canary::new("refused bearer of X", WRONG),
            Canary::new("bearer of JWKS", JWKS_BEARER),
            Canary::new("token key", TOKEN_KEY),
            Canary::new("pasted key", PASTED),
            Canary::new("credentials of another scheme", BASIC),
        ];
        for secret in [&self.token, &self.refused] {
            let text = &secret.token.token;
            all.push(Canary::new("bearer token", text));
            all.push(Canary::new("secret of bearer token", text.rsplit('_').next().expect("a secret")));
        }
        for jwt in &self.jwts {
            let names = ["JWT header", "JWT claims", "JWT signature"];
            // The header has no secret: it is in both canaries of a whole token.
            all.extend(names.into_iter().zip(jwt.split('.')).skip(1).map(|(name, part)| Canary::new(name, part)));
        }
        for (name, identity) in [("TLS key", &self.server), ("client key", &self.client), ("client key", &self.foreign)]
        {
            let lines: Vec<_> = identity.key.lines().filter(|line| !line.starts_with('-')).collect();
            // The public key, which is no secret, is at the end.
            all.push(Canary::new(name, lines[0]));
            let der = STANDARD.decode(lines.concat()).expect("PEM");
            all.push(Canary::new(name, &der[36..60]));
        }
        all
    }
}

/// A request of a consumer with the planted name.
fn request(filter: &TagFilter) -> SubscribeRequest {
    SubscribeRequest { consumer: PLANTED.into(), ..latest(filter) }
}

/// What a call returned: all frames up to the first batch, or the error.
async fn outcome(client: &mut Client, authorization: Option<&str>, filter: &TagFilter) -> Result<String, String> {
    let mut asking = bearing(None, request(filter));
    if let Some(value) = authorization {
        asking.metadata_mut().insert("authorization", value.parse().expect("ASCII"));
    }
    let shown = |status: &tonic::Status| format!("{status:?} {}", String::from_utf8_lossy(status.details()));
    let begun = in_time("an answer", client.subscribe(asking)).await;
    let mut stream = begun.map_err(|status| shown(&status))?.into_inner();
    let mut frames = String::new();
    loop {
        match in_time("a frame", stream.message()).await {
            Ok(frame) => {
                frames += &format!("{frame:?}");
                if let Some(Frame::Heartbeat(_)) = frame.expect("it has no end").frame {
                    return Ok(frames);
                }
            }
            Err(status) => return Err(frames + &shown(&status)),
        }
    }
}

/// Every kind of credential, accepted and refused. Returns everything that clients received.
async fn calls(all: &Credentials, gateway: &Gateway) -> String {
    let mut client = all.client(gateway, None).await.expect("it listens");
    let bearer = |token: &str| format!("Bearer {token}");
    let good = bearer(&all.token.token.token);
    let mut shown = String::new();
    let accepted = async |client: &mut Client, authorization: Option<&str>| {
        let mut frames = None;
        eventually("the credential is accepted", async || {
            frames = outcome(&mut client.clone(), authorization, &filters::all()).await.ok();
            frames.is_some()
        })
        .await;
        frames.expect("it is accepted")
    };
    shown += &accepted(&mut client, Some(&good)).await;
    shown += &accepted(&mut client, Some(&bearer(&all.jwts[0]))).await;
    let mut by_certificate = all.client(gateway, Some(&all.client)).await.expect("it is accepted");
    shown += &accepted(&mut by_certificate, None).await;
    let denied = outcome(&mut client, Some(&good), &filters::any(&[PLANTED])).await;
    shown += &denied.expect_err("nothing of this tag is visible");
    let token = &all.token.token.token;
    for refused in [
        bearer(&all.refused.token.token),
        bearer(&token[..token.len() - 1]),
        bearer(&format!("{token}=")),
        bearer(&format!(" {token} {token}")),
        bearer(&all.jwts[1]),
        bearer(&all.jwts[2]),
        bearer(&all.jwts[3]),
        format!("Basic {BASIC}"),
        token.clone(),
    ] {
        let answer = outcome(&mut client, Some(&refused), &filters::all()).await;
        shown += &answer.expect_err("it is refused");
    }
    match all.client(gateway, Some(&all.foreign)).await {
        Err(error) => shown += &format!("{error:?}"),
        Ok(mut foreign) => shown += &outcome(&mut foreign, None, &filters::all()).await.expect_err("it is refused"),
    }
    shown
}

/// Answers of AdminService to an operator, and to a caller without a valid credential.
async fn admin_answers(all: &Credentials, gateway: &Gateway) -> String {
    let connecting = AdminServiceClient::connect(format!("http://{}", gateway.admin()));
    let mut client = in_time("a connection", connecting).await.expect("it listens");
    let mut shown = String::new();
    for secret in [&all.token, &all.refused] {
        let token = Some(secret.token.token.as_str());
        let config =
            client.get_config(bearing(token, GetConfigRequest { page_size: 1_000, ..Default::default() })).await;
        assert_eq!(config.is_ok(), secret.token.id == all.token.token.id, "{config:?}");
        shown += &format!("{config:?}");
        shown += &format!("{:?}", client.list_sessions(bearing(token, ListSessionsRequest::default())).await);
        shown += &format!("{:?}", client.list_accounts(bearing(token, ListAccountsRequest::default())).await);
        shown += &format!("{:?}", client.who_am_i(bearing(token, WhoAmIRequest::default())).await);
    }
    shown
}

/// Answers of the status page to a browser of an operator, and to one without a valid credential.
async fn status_page(all: &Credentials, gateway: &Gateway) -> String {
    let mut shown = String::new();
    let mut client = all.client(gateway, None).await.expect("it listens");
    // Its consumer has the planted name.
    let session = bearing(Some(&all.token.token.token), request(&filters::all()));
    let mut session = in_time("an answer", client.subscribe(session)).await.expect("it begins").into_inner();
    in_time("the first frame", session.message()).await.expect("it continues");
    for secret in [&all.token, &all.refused] {
        let basic = STANDARD.encode(format!("operator:{}", secret.token.token));
        for path in ["/", "/status.json"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {basic}\r\n\r\n");
            let answer = exchange(gateway.admin(), request.as_bytes()).await;
            let answer = String::from_utf8(answer).expect("it answers in UTF-8");
            let is_shown = answer.starts_with("HTTP/1.1 200 ");
            assert_eq!(is_shown, secret.token.id == all.token.token.id, "{answer}");
            shown += &answer;
        }
    }
    shown
}

/// Files with faults, as an operator may write them. Each is reported, and the last good ones stay in force.
async fn faults(all: &Credentials, gateway: &Gateway, issuer: &Issuer) {
    let logged = async |text: &str, action: &dyn Fn()| {
        let count = || gateway.log().matches(text).count();
        let before = count();
        action();
        eventually(&format!("{text:?} is logged"), async || count() > before).await;
    };
    logged("failed to fetch key set", &|| issuer.publish(None)).await;
    let pasted = format!("-----BEGIN PRIVATE KEY-----\n{PASTED}\n-----END PRIVATE KEY-----\n");
    for key in [pasted.as_str(), &all.foreign.key, PASTED] {
        logged("TLS files are unusable", &|| drop(all.put("server.key", key))).await;
    }
    all.put("server.key", &all.server.key);
    let token = &all.token.token;
    for entry in [
        format!("tokens:\n  - {{ id: {}, sha256: \"{}\", principal: {READER} }}\n", token.id, token.token),
        format!("tokens:\n  - {{ id: {}, token: \"{}\" }}\n", token.id, token.token),
        format!("tokens:\n  - {}: 1\n", token.token),
        format!("tokens:\n  - \"{}\": [\n", token.token),
        token.token.clone(),
    ] {
        let write = || std::fs::write(tokens_file(&all.dir), &entry).expect("the directory is ours");
        logged("failed to reload configuration", &write).await;
    }
    logged("failed to reload configuration", &|| gateway.signal(Signal::HUP)).await;
}

/// Output of `check` for the same files.
async fn checked(dir: &Path) -> String {
    let mut shown = String::new();
    for flags in [&["check", "--config", "gateway.yaml"][..], &["check", "--config", "gateway.yaml", "--live-keys"]] {
        shown += &run(dir, gateway(dir, flags)).await.expect("it ends").text;
    }
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_shown_nowhere() {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
    let dir = env.dir().to_owned();
    let all = Credentials::new(&dir);
    let issuer = Issuer::start(Some(&[&all.key])).await;
    let (collector, port) = Collector::start().await;
    all.write(&mut env.settings, &issuer);
    env.settings.upstream.http_backoff_step = Duration::from_millis(100);
    env.settings.telemetry.otlp_endpoint = Some(format!("http://127.0.0.1:{port}").parse().expect("a URL"));
    env.settings.telemetry.otlp_delay = Duration::from_millis(100);
    std::fs::write(env.bearer_file(), WRONG).expect("the directory is ours");
    let flags = ["--set", &format!("telemetry.log_filter=trace,{PLANTED}=trace")];
    let mut gateway = Gateway::spawn_in(&env.settings, &dir, &flags, &[("PLANTED", PLANTED)]);
    gateway.listening().await;
    eventually("X refuses it", async || env.x.counters().unauthorized >= 2).await;
    std::fs::write(env.bearer_file(), BEARER).expect("the directory is ours");
    env.connected().await;
    env.post(&[&["cats", PLANTED]]);

    let clients = calls(&all, &gateway).await;
    let operator = admin_answers(&all, &gateway).await;
    let status_page = status_page(&all, &gateway).await;
    faults(&all, &gateway, &issuer).await;
    let mut admin = String::new();
    for path in ["/metrics", "/readyz", "/livez", "/", "/nothing"] {
        admin += &get(gateway.admin(), path).await.1;
    }
    let proc = |file: &str| std::fs::read(format!("/proc/{}/{file}", gateway.pid())).expect("it runs");
    let (cmdline, environ) = (proc("cmdline"), proc("environ"));
    gateway.terminate();
    assert_eq!(gateway.exited().await.code(), Some(0), "{}", gateway.log());
    let log = gateway.log();
    assert!(log.contains("\"TRACE\"") && log.contains("upstream unavailable"), "the log is verbose");
    let fetches = issuer.requests();
    assert!(fetches.iter().any(|head| head.contains(JWKS_BEARER)), "the bearer is in use: {fetches:?}");
    let places = [
        Place::new("the log", log),
        Place::new("answers of the admin port", admin),
        Place::new("answers of AdminService", operator),
        Place::new("answers of the status page", status_page),
        Place::new("frames and errors", clients),
        Place::new("spans", format!("{:?}", collector.0.lock())),
        Place::new("/proc/PID/cmdline", cmdline),
        Place::new("/proc/PID/environ", environ),
        Place::of_files("files of the journal", &env.settings.data_dir),
    ];
    let check = Place::new("check", checked(&dir).await);
    let planted = Canary::new("planted word", PLANTED);
    for place in &places {
        assert!(place.find(&planted).is_some(), "the search would find nothing in {}", place.name);
    }
    let canaries = all.canaries();
    let shown: Vec<_> = canaries.iter().flat_map(|own| places.iter().filter_map(|place| place.find(own))).collect();
    assert!(shown.is_empty(), "{} are shown:\n{}", shown.len(), shown.join("\n"));
    let shown: Vec<_> = canaries.iter().filter_map(|own| check.find(own)).collect();
    assert!(shown.is_empty(), "{shown:?}");
    // The files themselves contain them.
    let files = Place::of_files("all files", &dir);
    for name in ["TLS key", "token key", "bearer of JWKS"] {
        let canary = canaries.iter().find(|own| own.name == name).expect("it is one of them");
        assert!(files.find(canary).is_some(), "{name} is in use");
    }
}
