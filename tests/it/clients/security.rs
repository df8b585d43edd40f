//! TLS and credentials of a gateway as files, and the flags of an example that uses them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use powerstream_gateway::access::{CertificateConfig, PrincipalConfig, Right, RoleConfig, RoleLimits};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{SessionStart, SubscribeRequest};
use powerstream_gateway::tls::ClientAuth;
use tonic::Status;

use crate::harness::env::tls_client;
use crate::harness::pki::{Authority, Identity, VALID};
use crate::harness::tokens::{Secret, tokens_file, write_tokens};
use crate::harness::{eventually, in_time};

/// Principal of the example, and its role.
pub const EXAMPLE: &str = "example";
/// Principal of the test, and its role.
const TESTER: &str = "tester";
/// Name in the client certificates of the example.
const NAME: &str = "spiffe://test/example";
/// How often the gateway looks for changed files.
const LOOK: Duration = Duration::from_millis(200);

/// What the example presents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presents {
    /// A bearer token or JWT; the gateway asks for no certificate.
    Token,
    /// A client certificate, and no token; the gateway requires it.
    Certificate,
}

/// Files of a gateway and of its example, all in one directory.
pub struct Security {
    dir: PathBuf,
    presents: Presents,
    servers: Authority,
    clients: Authority,
    /// Credential of the test itself.
    tester: Secret,
    /// First credential of the example.
    pub secret: Secret,
}

fn role(name: &str) -> RoleConfig {
    RoleConfig {
        name: name.into(),
        accounts: vec!["main".into()],
        rights: vec![Right::Read],
        tags: None,
        rule_sets: None,
        limits: RoleLimits::default(),
    }
}

impl Security {
    /// Writes all files, and names them in the settings. The role of the example is the first one.
    pub fn write(dir: &Path, settings: &mut Settings, presents: Presents) -> Self {
        let own = Self {
            dir: dir.to_owned(),
            presents,
            servers: Authority::new(),
            clients: Authority::new(),
            tester: Secret::new(TESTER, 200),
            secret: Secret::new(EXAMPLE, 1),
        };
        let server = own.servers.issue(&["localhost", "127.0.0.1"], VALID);
        let tls = &mut settings.grpc.tls;
        tls.cert_file = Some(own.put("server.pem", &server.certificate));
        tls.key_file = Some(own.put("server.key", &server.key));
        if presents == Presents::Certificate {
            (tls.client_auth, tls.client_ca_file) =
                (ClientAuth::Required, Some(own.put("clients.pem", &own.clients.pem())));
            settings.auth.certificates = vec![CertificateConfig { san: NAME.into(), principal: EXAMPLE.into() }];
        }
        settings.auth.token_files = vec![tokens_file(dir)];
        settings.roles = vec![role(EXAMPLE), role(TESTER)];
        let principal = |name: &str| PrincipalConfig { name: name.into(), roles: vec![name.into()] };
        settings.principals = vec![principal(EXAMPLE), principal(TESTER)];
        settings.reload.interval = LOOK;
        own.put("ca.pem", &own.servers.pem());
        own.accept(&[&own.secret]);
        own.hand_out(&own.secret.token.token);
        own
    }

    /// Writes a file as a Secret is mounted: the new version takes the place of the old one at once.
    pub fn put(&self, name: &str, content: &str) -> PathBuf {
        let (path, next) = (self.dir.join(name), self.dir.join(format!("{name}.next")));
        std::fs::write(&next, content).expect("the directory is ours");
        std::fs::rename(next, &path).expect("the directory is ours");
        path
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Authorities of the gateway.
    pub fn ca_file(&self) -> String {
        self.path("ca.pem")
    }

    /// Token file of the example.
    pub fn token_file(&self) -> String {
        self.path("credential")
    }

    /// Flags of the example.
    pub fn flags(&self) -> Vec<String> {
        let flags = match self.presents {
            Presents::Token => [("--token-file", self.token_file()), ("--ca-file", self.ca_file())].to_vec(),
            Presents::Certificate => [
                ("--ca-file", self.ca_file()),
                ("--cert-file", self.path("client.pem")),
                ("--key-file", self.path("client.key")),
            ]
            .to_vec(),
        };
        flags.into_iter().flat_map(|(flag, path)| [flag.to_owned(), path]).collect()
    }

    /// The gateway accepts these credentials of the example, and no other.
    pub fn accept(&self, secrets: &[&Secret]) {
        write_tokens(&self.dir, &[&[&self.tester], secrets].concat());
    }

    /// Gives the example a token.
    pub fn hand_out(&self, token: &str) {
        self.put("credential", &format!("{token}\n"));
    }

    /// Issues a client certificate of the example that is valid for so many seconds.
    pub fn identity(&self, seconds: u64) -> Identity {
        let now = Duration::from_millis(Clock::system().system_now().0.unsigned_abs());
        self.clients.issue(&[NAME], now + Duration::from_secs(seconds))
    }

    /// How a session with this credential begins.
    async fn try_begin(
        &self,
        address: SocketAddr,
        secret: &Secret,
        request: SubscribeRequest,
    ) -> Result<SessionStart, Status> {
        let own = self.clients.issue(&["tester.example"], VALID);
        let mut client = tls_client(address, &self.servers, Some(&own)).await.expect("it listens");
        let mut stream = in_time("an answer", client.subscribe(secret.on(request))).await?.into_inner();
        let first = in_time("the first frame", stream.message()).await?.expect("a stream has a first frame");
        let Some(Frame::SessionStart(start)) = first.frame else { panic!("the first frame is {first:?}") };
        Ok(start)
    }

    /// How a session of the test begins.
    pub async fn begin(&self, address: SocketAddr, request: SubscribeRequest) -> SessionStart {
        self.try_begin(address, &self.tester, request).await.expect("the test may read")
    }

    /// Waits until the gateway accepts this credential.
    pub async fn accepted(&self, address: SocketAddr, secret: &Secret) {
        let mut refused = String::new();
        eventually("the gateway accepts the credential", async || {
            let Err(status) = self.try_begin(address, secret, SubscribeRequest::default()).await else { return true };
            let reason = format!("{:?} {}", status.code(), status.message());
            if reason != refused {
                eprintln!("refused: {reason}");
                refused = reason;
            }
            false
        })
        .await;
    }
}
