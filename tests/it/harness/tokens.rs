//! Bearer tokens of principals, and the token file of the gateway.

use std::path::{Path, PathBuf};

use powerstream_gateway::access::{NewToken, PrincipalConfig, Right, RoleConfig, RoleLimits};
use powerstream_gateway::model::UnixMillis;
use tonic::Request;

/// A credential of a principal.
pub struct Secret {
    /// Name of the principal.
    pub principal: &'static str,
    /// The token, and what the gateway knows of it.
    pub token: NewToken,
    /// Its end.
    pub not_after: Option<UnixMillis>,
}

impl Secret {
    /// A token of this principal; the number makes it unique.
    pub fn new(principal: &'static str, number: u8) -> Self {
        Self { principal, token: NewToken::new([number; 8], [number; 32]), not_after: None }
    }

    /// A request with it.
    pub fn on<T>(&self, message: T) -> Request<T> {
        bearing(Some(&self.token.token), message)
    }
}

/// A request with a bearer token.
pub fn bearing<T>(token: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
    }
    request
}

/// Returns a role with these rights on the accounts of a name or pattern, for all tags and without limits.
pub fn role(name: &str, accounts: &str, rights: &[Right]) -> RoleConfig {
    RoleConfig {
        name: name.into(),
        accounts: vec![accounts.into()],
        rights: rights.to_vec(),
        tags: None,
        rule_sets: None,
        limits: RoleLimits::default(),
    }
}

/// Returns a principal that has the role of its name.
pub fn principal(name: &str) -> PrincipalConfig {
    PrincipalConfig { name: name.into(), roles: vec![name.into()] }
}

/// Returns the token file in this directory.
pub fn tokens_file(dir: &Path) -> PathBuf {
    dir.join("tokens.yaml")
}

/// Writes the token file as a Secret is mounted: the new version takes the place of the old one at once.
pub fn write_tokens(dir: &Path, secrets: &[&Secret]) {
    let line = |own: &&Secret| {
        let end = own.not_after.map(|end| format!(", not_after: \"{end}\"")).unwrap_or_default();
        let NewToken { id, sha256, .. } = &own.token;
        format!("  - {{ id: {id}, sha256: \"{sha256}\", principal: {}{end} }}\n", own.principal)
    };
    let lines: String = secrets.iter().map(line).collect();
    let next = dir.join("tokens.next");
    let text = if lines.is_empty() { "tokens: []\n".to_owned() } else { format!("tokens:\n{lines}") };
    std::fs::write(&next, text).expect("the directory is ours");
    std::fs::rename(next, tokens_file(dir)).expect("the directory is ours");
}
