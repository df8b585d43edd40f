//! An issuer of JSON Web Tokens: its keys, its tokens, and the server of its keys.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use powerstream_gateway::access::jwt::{JwtAlgorithm, JwtConfig, JwtKeysConfig, JwtRoleConfig};
use powerstream_gateway::clock::Clock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const ISSUER: &str = "https://login.example/";
const AUDIENCE: &str = "powerstream-gateway";
/// Group of the subject of all tokens.
const GROUP: &str = "cats-team";

/// A key of the issuer.
pub struct Key {
    kid: &'static str,
    pair: Ed25519KeyPair,
}

impl Key {
    /// Creates a key with this id.
    pub fn new(kid: &'static str) -> Self {
        Self { kid, pair: Ed25519KeyPair::generate().expect("random") }
    }

    fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": encoded(self.pair.public_key()) })
    }

    /// Returns a token of a member of the team `cats`, which ends after so many seconds.
    pub fn token(&self, seconds: i64) -> String {
        let now = Clock::system().system_now().0 / 1_000;
        let header = json!({ "alg": "EdDSA", "kid": self.kid }).to_string();
        let claims = json!({
            "iss": ISSUER, "aud": [AUDIENCE], "sub": "alice", "groups": [GROUP],
            "iat": now - 60, "exp": now + seconds,
        });
        let message = format!("{}.{}", encoded(header), encoded(claims.to_string()));
        format!("{message}.{}", encoded(self.pair.sign(message.as_bytes())))
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns a key set in JSON.
pub fn key_set(keys: &[&Key]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Value>() }).to_string()
}

/// Returns the issuer for the configuration: members of its group have this role.
pub fn config(keys: JwtKeysConfig, role: &str) -> JwtConfig {
    let (claim, value, role) = ("groups".into(), GROUP.into(), role.into());
    JwtConfig {
        name: "corp".into(),
        issuer: ISSUER.into(),
        audiences: vec![AUDIENCE.into()],
        algorithms: vec![JwtAlgorithm::EdDSA],
        keys,
        lifetime_max: Duration::from_secs(3_600),
        roles: vec![JwtRoleConfig { claim, value, role }],
        default_roles: Vec::new(),
        tags_claim: None,
    }
}

/// The issuer's server: the keys that it has, or none, and it fails.
pub struct Issuer {
    url: String,
    keys: Arc<Mutex<Option<String>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Issuer {
    /// Starts it with these keys.
    pub async fn start(keys: Option<&[&Key]>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}/jwks", listener.local_addr().expect("it is bound"));
        let own = Self { url, keys: Arc::default(), requests: Arc::default() };
        own.publish(keys);
        let (published, requests) = (own.keys.clone(), own.requests.clone());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = [0; 4_096];
                let length = socket.read(&mut head).await.unwrap_or_default();
                requests.lock().push(String::from_utf8_lossy(&head[..length]).into_owned());
                let (status, body) = published.lock().clone().map_or((503, String::new()), |keys| (200, keys));
                let head =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        own
    }

    /// Replaces its keys.
    pub fn publish(&self, keys: Option<&[&Key]>) {
        *self.keys.lock() = keys.map(key_set);
    }

    /// Returns where its keys are.
    pub fn keys(&self) -> JwtKeysConfig {
        JwtKeysConfig { url: Some(self.url.parse().expect("a URL")), ..JwtKeysConfig::default() }
    }

    /// Returns the heads of all requests for its keys.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }
}
