//! Keys, tokens and a server of key sets for tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::config::{JwtAlgorithm, JwtConfig, JwtKeysConfig};
use crate::model::UnixMillis;
use crate::task;

/// The current time of pure tests.
pub(crate) const NOW: UnixMillis = UnixMillis(NOW_SECONDS * 1_000);
pub(crate) const NOW_SECONDS: i64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://login.example/";
pub(crate) const AUDIENCE: &str = "powerstream-gateway";

/// A signing key.
pub(crate) enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// The keys of the issuer, and those of an attacker. RSA keys take long to make.
pub(crate) struct Keys {
    pub(crate) rsa: Signer,
    pub(crate) ec: Signer,
    pub(crate) ed: Signer,
}

impl Keys {
    fn new() -> Self {
        Self { rsa: Signer::rsa(), ec: Signer::ec(), ed: Signer::ed() }
    }
}

pub(crate) static OWN: LazyLock<Keys> = LazyLock::new(Keys::new);
pub(crate) static ATTACKER: LazyLock<Keys> = LazyLock::new(Keys::new);

pub(crate) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub(crate) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("random"))
    }

    pub(crate) fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("random"))
    }

    pub(crate) fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().expect("random"))
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    /// The public key as a JWK with this id.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({ "kty": "RSA", "kid": kid, "use": "sig", "n": encoded(n), "e": encoded(e) })
            }
            Self::Ec(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": encoded(x), "y": encoded(y) })
            }
            Self::Ed(key) => json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encoded(key.public_key()) }),
        }
    }

    /// A token with this header and payload, signed.
    pub(crate) fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", encoded(header), encoded(payload));
        let signature = match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("signed");
                signature
            }
            Self::Ec(key) => key.sign(&SystemRandom::new(), message.as_bytes()).expect("signed").as_ref().to_vec(),
            Self::Ed(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", encoded(signature))
    }

    pub(crate) fn token(&self, kid: &str, claims: &Value) -> String {
        self.sign(&json!({ "alg": self.algorithm(), "kid": kid }).to_string(), &claims.to_string())
    }
}

/// A key set as text.
pub(crate) fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Good claims at this time.
pub(crate) fn claims_at(seconds: i64) -> Value {
    let (iat, exp) = (seconds - 60, seconds + 3_600);
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": iat, "exp": exp })
}

/// Good claims with some others; `null` removes a claim.
pub(crate) fn claims_with(other: &Value) -> Value {
    let mut claims = claims_at(NOW_SECONDS);
    let own = claims.as_object_mut().expect("an object");
    for (name, value) in other.as_object().expect("an object") {
        own.remove(name);
        if !value.is_null() {
            own.insert(name.clone(), value.clone());
        }
    }
    claims
}

/// An issuer `corp` with these keys.
pub(crate) fn issuer(keys: JwtKeysConfig) -> JwtConfig {
    JwtConfig {
        name: "corp".into(),
        issuer: ISSUER.into(),
        audiences: vec![AUDIENCE.into()],
        algorithms: vec![JwtAlgorithm::RS256, JwtAlgorithm::ES256, JwtAlgorithm::EdDSA],
        keys,
        lifetime_max: Duration::from_secs(86_400),
        roles: Vec::new(),
        default_roles: Vec::new(),
        tags_claim: None,
    }
}

/// What the server answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Status 200 with this body.
    Body(String),
    /// This status, with a key set as its body.
    Status(u16, String),
    /// A redirect.
    Redirect(String),
    /// 200, this many bytes, as a chunked body.
    Long(usize),
    /// Nothing.
    Silence,
    /// The connection is closed.
    Close,
}

/// A server of key sets.
pub(crate) struct KeyServer {
    pub(crate) address: SocketAddr,
    state: Arc<ServerState>,
}

struct ServerState {
    reply: Mutex<Reply>,
    /// Header blocks of the requests.
    requests: Mutex<Vec<String>>,
}

impl KeyServer {
    pub(crate) async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(ServerState { reply: Mutex::new(reply), requests: Mutex::default() });
        let shared = state.clone();
        task::detached(async move {
            while let Ok((socket, _)) = listener.accept().await {
                task::detached(answer(socket, shared.clone()));
            }
        });
        Self { address, state }
    }

    pub(crate) fn keys(&self) -> JwtKeysConfig {
        let url = format!("http://{}/jwks", self.address).parse().expect("a URL");
        JwtKeysConfig { url: Some(url), ..JwtKeysConfig::default() }
    }

    pub(crate) fn reply(&self, reply: Reply) {
        *self.state.reply.lock() = reply;
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().clone()
    }
}

async fn answer(mut socket: tokio::net::TcpStream, state: Arc<ServerState>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    state.requests.lock().push(String::from_utf8_lossy(&head).into_owned());
    let reply = state.reply.lock().clone();
    let text = |status: u16, more: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n{body}")
    };
    let answer = match reply {
        Reply::Body(body) => text(200, "", &body),
        Reply::Status(status, body) => text(status, "", &body),
        Reply::Redirect(to) => text(302, &format!("location: {to}\r\n"), ""),
        Reply::Long(length) => {
            let body = format!("{:x}\r\n{}\r\n0\r\n\r\n", length, " ".repeat(length));
            format!("HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{body}")
        }
        Reply::Silence => std::future::pending().await,
        Reply::Close => return,
    };
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
}

/// The values of a metric of the process, by its labels.
pub(crate) fn samples(text: &str, name: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    lines.filter_map(|(labels, value)| Some((labels.to_owned(), value.parse().ok()?))).collect()
}
