//! A scrape of a gateway process with everything in use: TLS, tokens, an issuer of JWTs, revocation lists, sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use powerstream_gateway::access::jwt::{JwtAlgorithm, JwtConfig, JwtKeysConfig};
use powerstream_gateway::access::{NewToken, PrincipalConfig, Right, RoleConfig, RoleLimits};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::model::UnixMillis;
use powerstream_gateway::proto::SubscribeRequest;
use powerstream_gateway::tls::ClientAuth;
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use crate::harness::env::{Client, sum};
use crate::harness::pki::{Authority, VALID};
use crate::harness::probe::exchange;
use crate::harness::process::Gateway;
use crate::harness::{TestEnv, eventually, filters, in_time, latest};
use crate::replicas::in_memory::MemoryReplicas;

/// A metric of a scrape.
#[derive(Debug, Default)]
pub struct Metric {
    /// Type as OpenMetrics names it.
    pub kind: String,
    /// Description.
    pub help: String,
    /// Names of its labels.
    pub labels: BTreeSet<String>,
    /// Names of its samples.
    pub samples: BTreeSet<String>,
}

/// The metrics of a scrape in OpenMetrics, by the name of their samples without the suffix of histograms.
#[derive(Debug, Default)]
pub struct Scrape(pub BTreeMap<String, Metric>);

impl Scrape {
    pub fn parse(text: &str) -> Self {
        let mut families: BTreeMap<String, Metric> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                    current = name.to_owned();
                    families.entry(current.clone()).or_default().help = help.trim_end_matches('.').to_owned();
                }
                (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                    families.entry(name.to_owned()).or_default().kind = kind.to_owned();
                }
                (Some("#"), ..) => {}
                _ => {
                    let family = families.entry(current.clone()).or_default();
                    let end = line.find(['{', ' ']).expect("a sample");
                    family.samples.insert(line[..end].to_owned());
                    family.labels.extend(labels(&line[end..]).into_iter().filter(|label| label != "le"));
                }
            }
        }
        let named = families.into_iter().map(|(name, family)| {
            let name = match family.kind.as_str() {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name,
            };
            (name, family)
        });
        Self(named.collect())
    }

    /// True if there is a sample of this name.
    pub fn has_sample(&self, name: &str) -> bool {
        self.0.values().any(|family| family.samples.contains(name))
    }
}

/// The names of the labels in `{a="b",c="d"} 1`.
fn labels(text: &str) -> Vec<String> {
    let Some(inside) = text.strip_prefix('{').and_then(|rest| rest.rsplit_once('}')) else { return Vec::new() };
    inside.0.split("\",").filter_map(|pair| Some(pair.split_once("=\"")?.0.to_owned())).collect()
}

/// Header of a request for OpenMetrics.
const OPEN_METRICS: &str = "accept: application/openmetrics-text\r\n";
const PRINCIPAL: &str = "indexer";

/// A gateway process with everything in use, before its start.
struct Stage {
    env: TestEnv,
    settings: Settings,
    servers: Authority,
    token: NewToken,
}

impl Stage {
    fn new() -> Self {
        let env = TestEnv::without_gateway(Clock::system(), |x| x.rate = 50.0, |_| ());
        let mut settings = env.settings.clone();
        let (servers, clients) = (Authority::new(), Authority::new());
        let server = servers.issue(&["localhost"], VALID);
        let put = |name: &str, content: &str| {
            let path = env.dir().join(name);
            std::fs::write(&path, content).expect("the directory is ours");
            path
        };
        let tls = &mut settings.grpc.tls;
        tls.cert_file = Some(put("cert.pem", &server.certificate));
        tls.key_file = Some(put("key.pem", &server.key));
        tls.client_ca_file = Some(put("ca.pem", &clients.pem()));
        tls.crl_files = vec![put("crl.pem", &clients.revocation_list(&[], VALID))];
        tls.client_auth = ClientAuth::Optional;
        let token = NewToken::new([1; 8], [2; 32]);
        let end = UnixMillis(Clock::system().system_now().0 + 86_400_000);
        let entry = format!(
            "tokens:\n  - {{ id: {}, sha256: \"{}\", principal: {PRINCIPAL}, not_after: \"{end}\" }}\n",
            token.id, token.sha256
        );
        settings.auth.token_files = vec![put("tokens.yaml", &entry)];
        settings.auth.jwt = vec![issuer()];
        settings.roles = vec![RoleConfig {
            name: "all".into(),
            accounts: vec!["*".into()],
            rights: vec![Right::Read],
            tags: None,
            rule_sets: None,
            limits: RoleLimits { sessions: Some(1), ..RoleLimits::default() },
        }];
        settings.principals = vec![PrincipalConfig { name: PRINCIPAL.into(), roles: vec!["all".into()] }];
        Self { env, settings, servers, token }
    }

    async fn client(&self, gateway: &Gateway) -> Client {
        let root = Certificate::from_pem(self.servers.pem());
        let tls = ClientTlsConfig::new().ca_certificate(root).domain_name("localhost");
        let endpoint = Channel::from_shared(format!("https://{}", gateway.grpc())).expect("a URI");
        let channel = in_time("a connection", endpoint.tls_config(tls).expect("good files").connect()).await;
        Client::new(channel.expect("accepted"))
    }

    fn request(&self) -> Request<SubscribeRequest> {
        let mut request = Request::new(latest(&filters::all()));
        let header = format!("Bearer {}", self.token.token).parse().expect("ASCII");
        request.metadata_mut().insert("authorization", header);
        request
    }
}

fn issuer() -> JwtConfig {
    // Nothing listens there.
    let url = Some("http://127.0.0.1:9/jwks".parse().expect("a URL"));
    JwtConfig {
        name: "corp".into(),
        issuer: "https://login.example/".into(),
        audiences: vec!["powerstream-gateway".into()],
        keys: JwtKeysConfig { url, ..JwtKeysConfig::default() },
        algorithms: vec![JwtAlgorithm::EdDSA],
        lifetime_max: Duration::ZERO,
        roles: Vec::new(),
        default_roles: vec!["all".into()],
        tags_claim: None,
    }
}

async fn get(admin: SocketAddr, accept: &str) -> String {
    let request = format!("GET /metrics HTTP/1.1\r\nhost: gateway\r\n{accept}\r\n");
    let answer = String::from_utf8(exchange(admin, request.as_bytes()).await).expect("UTF-8");
    answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}

/// Starts a gateway process with everything in use, and returns its scrapes: in OpenMetrics, and as plain text.
pub async fn full() -> (String, String) {
    let stage = Stage::new();
    let gateway = Gateway::start(&stage.settings, stage.env.dir()).await;
    let mut client = stage.client(&gateway).await;
    let mut stream = in_time("an answer", client.subscribe(stage.request())).await.expect("accepted").into_inner();
    in_time("an answer", client.subscribe(stage.request())).await.expect_err("beyond the limit of sessions");
    let begun = ["posts_appended_total", "upstream_lag_seconds_count", "delivery_seconds_count"];
    let mut text = String::new();
    eventually("posts are in the log and delivered", async || {
        in_time("a message", stream.message()).await.expect("no end");
        text = get(gateway.admin(), OPEN_METRICS).await;
        begun.iter().all(|name| sum(&text, name) > 0.0)
    })
    .await;
    let plain = get(gateway.admin(), "").await;
    drop(stream);
    gateway.kill().await;
    assert!(text.ends_with("# EOF\n") && !plain.contains("# EOF"));
    let (replica, plain_replica) = replica().await;
    (with_families(&text, &replica), with_families(&plain, &plain_replica))
}

/// Returns the scrapes of a replica in this process.
async fn replica() -> (String, String) {
    let replicas = MemoryReplicas::start(50.0, |_| ()).await;
    replicas.leader().await;
    let admin = replicas.app(0).admin_address();
    let scrapes = (get(admin, OPEN_METRICS).await, get(admin, "").await);
    replicas.stop().await;
    scrapes
}

/// Adds the families of another scrape that this one does not have.
fn with_families(text: &str, other: &str) -> String {
    let is_begin = |line: &str| line.starts_with("# HELP ");
    let family = |line: &str| line.split(' ').nth(2).unwrap_or_default().to_owned();
    let known: BTreeSet<String> = text.lines().filter(|line| is_begin(line)).map(family).collect();
    let mut is_new = false;
    let mut added = String::new();
    for line in other.lines().filter(|line| *line != "# EOF") {
        if is_begin(line) {
            is_new = !known.contains(&family(line));
        }
        if is_new {
            added.extend([line, "\n"]);
        }
    }
    match text.strip_suffix("# EOF\n") {
        Some(families) => format!("{families}{added}# EOF\n"),
        None => format!("{text}{added}"),
    }
}
