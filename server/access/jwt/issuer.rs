//! The issuers of an access snapshot: which of them a token names, and whether an accepted token still is accepted.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::KeyCache;
use super::claims::UnverifiedToken;
use super::config::{JwksConfig, JwtConfig};
use super::key_set::JwtKeySet;
use super::verify::{self, JwtError, VerifiedToken};
use crate::access::AccessFault;
use crate::access::config::AuthConfig;
use crate::model::{TagPattern, UnixMillis};
use crate::state_file;

/// The issuers that the gateway accepts.
#[derive(Debug, Default, PartialEq)]
pub struct Issuers {
    issuers: Vec<Issuer>,
    fetching: JwksConfig,
}

#[derive(Debug)]
struct Issuer {
    config: JwtConfig,
    keys: KeySource,
}

#[derive(Debug)]
enum KeySource {
    /// A part of the snapshot.
    File(Arc<JwtKeySet>),
    /// Shared by all snapshots with the same source.
    Url(Arc<KeyCache>),
}

impl PartialEq for Issuer {
    fn eq(&self, other: &Self) -> bool {
        let is_same = match (&self.keys, &other.keys) {
            (KeySource::File(one), KeySource::File(other)) => one == other,
            // Their source is a part of the settings.
            (KeySource::Url(_), KeySource::Url(_)) => true,
            _ => false,
        };
        is_same && self.config == other.config
    }
}

/// What an accepted token may use: roles by name, and patterns that narrow them.
#[derive(Debug, PartialEq)]
pub struct TokenRoles {
    /// Names of roles.
    pub roles: Vec<String>,
    /// Patterns that narrow the visible posts of the roles; `None`: all of them.
    pub patterns: Option<Vec<TagPattern>>,
}

impl Issuers {
    /// Creates the issuers; reads key sets from files.
    pub fn load(config: &AuthConfig, faults: &mut Vec<AccessFault>) -> Self {
        let issuers = config.jwt.iter().filter_map(|own| Issuer::load(own, &config.jwks, faults)).collect();
        Self { issuers, fetching: config.jwks.clone() }
    }

    /// Verifies a token by its issuer.
    pub fn verify(&self, token: &str, now: UnixMillis) -> Result<VerifiedToken, JwtError> {
        let token = UnverifiedToken::parse(token).map_err(JwtError::Invalid)?;
        let issuer = self.named_by(&token).ok_or(JwtError::Invalid("unknown issuer"))?;
        verify::algorithm(&token, &issuer.config)?;
        let keys = issuer.keys().ok_or(JwtError::KeysUnavailable)?;
        verify::verify(token, &issuer.config, &keys, now)
    }

    fn named_by(&self, token: &UnverifiedToken<'_>) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| *issuer.config.issuer == *token.claims.issuer)
    }

    /// Returns the key cache of the issuer that a token names; `None` if its keys are not fetched.
    pub fn cache(&self, token: &str) -> Option<&Arc<KeyCache>> {
        self.named_by(&UnverifiedToken::parse(token).ok()?)?.cache()
    }

    /// Returns the roles of a token that was verified before; `None` if it is not accepted any more. It stays accepted
    /// while its issuer's keys cannot be fetched.
    pub fn roles(&self, token: &VerifiedToken) -> Option<TokenRoles> {
        let issuer = self.issuers.iter().find(|issuer| *issuer.config.name == *token.issuer)?;
        let config = &issuer.config;
        let kid = token.kid.as_deref();
        let has_key = issuer.last_keys().is_none_or(|keys| keys.contains(kid, token.algorithm, token.key));
        if !has_key || !config.algorithms.contains(&token.algorithm) || verify::refusal(&token.claims, config).is_some()
        {
            return None;
        }
        let mapped = config.roles.iter().filter(|own| token.claims.contains(&own.claim, &own.value));
        let roles = mapped.map(|own| &own.role).chain(&config.default_roles).cloned().collect();
        Some(TokenRoles { roles, patterns: verify::patterns(&token.claims, config).ok()? })
    }

    /// Continues with the fetched keys of earlier issuers with the same source.
    pub fn adopt_keys(&mut self, earlier: &Self) {
        for issuer in &mut self.issuers {
            let KeySource::Url(own) = &mut issuer.keys else { continue };
            let mut known = earlier.caches();
            if let Some(known) = known.find(|known| known.issuer == own.issuer && known.source == own.source) {
                *own = known.clone();
            }
        }
    }

    /// Returns the caches of all issuers whose keys are fetched.
    pub fn caches(&self) -> impl Iterator<Item = &Arc<KeyCache>> {
        self.issuers.iter().filter_map(Issuer::cache)
    }

    /// Returns the settings of fetches.
    pub fn fetching(&self) -> &JwksConfig {
        &self.fetching
    }
}

impl Issuer {
    fn load(config: &JwtConfig, fetching: &JwksConfig, faults: &mut Vec<AccessFault>) -> Option<Self> {
        let keys = match &config.keys.file {
            None => KeySource::Url(Arc::new(KeyCache::new(config.name.as_str().into(), config.keys.clone()))),
            Some(path) => match read(path, fetching.response_bytes_max) {
                Ok(keys) => KeySource::File(Arc::new(keys)),
                Err(text) => {
                    faults.push(AccessFault { path: path.display().to_string(), text });
                    return None;
                }
            },
        };
        Some(Self { config: config.clone(), keys })
    }

    fn cache(&self) -> Option<&Arc<KeyCache>> {
        match &self.keys {
            KeySource::File(_) => None,
            KeySource::Url(cache) => Some(cache),
        }
    }

    fn keys(&self) -> Option<Arc<JwtKeySet>> {
        match &self.keys {
            KeySource::File(keys) => Some(keys.clone()),
            KeySource::Url(cache) => cache.keys(),
        }
    }

    fn last_keys(&self) -> Option<Arc<JwtKeySet>> {
        match &self.keys {
            KeySource::File(keys) => Some(keys.clone()),
            KeySource::Url(cache) => cache.last_keys(),
        }
    }
}

fn read(path: &Path, bytes_max: usize) -> Result<JwtKeySet, String> {
    let mut text = Vec::new();
    let file = state_file::open_regular(path).map_err(|error| format!("cannot be read: {}", error.kind()))?;
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("cannot be read: {}", error.kind()))?;
    if text.len() > bytes_max {
        return Err(format!("has more than {bytes_max} bytes (auth.jwks.response_bytes_max)"));
    }
    let keys = JwtKeySet::parse(&text).ok_or("is not a JSON Web Key Set with at most 100 keys")?;
    if keys.is_empty() { Err("has no public key for signatures".into()) } else { Ok(keys) }
}

impl AuthConfig {
    /// Returns all files whose contents are a part of the access snapshot.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let keys = self.jwt.iter().filter_map(|issuer| issuer.keys.file.as_ref());
        self.token_files.iter().chain(keys).chain(&self.revoked_file)
    }
}

#[cfg(test)]
mod tests;
