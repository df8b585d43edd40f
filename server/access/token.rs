//! Bearer tokens in files: their format, and the table of accepted ones.
//!
//! A token is `psg_ID_SECRET`: a public id of 8 characters, and 32 random bytes as base64url. A file has SHA-256 digests
//! of whole tokens. A slow password hash would protect nothing, because the secret has 256 random bits, and it would let
//! clients spend the gateway's time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::{File, FileFormat};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::AccessFault;
use crate::model::UnixMillis;
use crate::secret;

/// Start of every token, by which scanners for leaked secrets find it.
pub(super) const PREFIX: &str = "psg_";
/// Characters of an id.
const ID_LENGTH: usize = 8;
/// Alphabet of ids.
const ID_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Maximum bytes of a file: an entry has about 150.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Maximum tokens in all files.
pub const TOKENS_MAX: usize = 1_000;

/// A token as issued: the only place where its secret exists in the gateway.
pub struct NewToken {
    /// Public id.
    pub id: String,
    /// The whole token.
    pub token: String,
    /// SHA-256 of the whole token, in hexadecimal.
    pub sha256: String,
}

impl NewToken {
    /// Creates a token from random bytes.
    pub fn new(id: [u8; ID_LENGTH], secret: [u8; 32]) -> Self {
        // A letter first: YAML would read some ids of digits as numbers.
        let letters = |at: usize| if at == 0 { &ID_ALPHABET[..26] } else { &ID_ALPHABET[..] };
        let letter = |(at, byte): (usize, u8)| char::from(letters(at)[usize::from(byte) % letters(at).len()]);
        let id: String = id.into_iter().enumerate().map(letter).collect();
        let token = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        let sha256 = hex(&Sha256::digest(&token));
        Self { id, token, sha256 }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An entry of a token file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEntry {
    /// SHA-256 of the whole token.
    pub digest: [u8; 32],
    /// Name of the principal.
    pub principal: Arc<str>,
    /// End of validity.
    pub not_after: Option<UnixMillis>,
}

/// Accepted tokens, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenTable(BTreeMap<Arc<str>, TokenEntry>);

impl TokenTable {
    /// Returns the entry of a token, and its id. An unknown id costs as much as a wrong secret.
    pub fn find(&self, token: &str) -> Option<(Arc<str>, &TokenEntry)> {
        let digest = Sha256::digest(token);
        let id = id(token).unwrap_or_default();
        let found = self.0.get_key_value(id);
        let expected = found.map_or([0; 32], |(_, entry)| entry.digest);
        let is_equal: bool = digest[..].ct_eq(&expected).into();
        found.filter(|_| is_equal).map(|(id, entry)| (id.clone(), entry))
    }

    /// Returns the entry of this id.
    pub fn get(&self, id: &str) -> Option<&TokenEntry> {
        self.0.get(id)
    }

    /// Returns all tokens by id.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &TokenEntry)> {
        self.0.iter()
    }

    /// Returns the names of all principals that have a token.
    pub fn principals(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.values().map(|entry| &entry.principal)
    }

    /// Adds the tokens of a file. Every fault is reported; a fault shows no value of the file.
    pub fn add_file(&mut self, path: &Path, faults: &mut Vec<AccessFault>) {
        let mut fault = |text: String| faults.push(AccessFault { path: path.display().to_string(), text });
        let tree = match read(path) {
            Ok(tree) => tree,
            Err(text) => return fault(text),
        };
        let Some(entries) = tree.get("tokens").and_then(Value::as_array) else {
            return fault("has no list `tokens`".into());
        };
        for (n, entry) in entries.iter().enumerate() {
            if self.0.len() >= TOKENS_MAX {
                return fault(format!("too many tokens: at most {TOKENS_MAX} in all files"));
            }
            match parse(entry) {
                Ok((id, _)) if self.0.contains_key(&id) => fault(format!("tokens[{n}].id: is used twice")),
                Ok((id, entry)) => drop(self.0.insert(id, entry)),
                Err(text) => fault(format!("tokens[{n}]{text}")),
            }
        }
    }
}

/// Returns the id of a token that has the form of one.
fn id(token: &str) -> Option<&str> {
    let (id, secret) = token.strip_prefix(PREFIX)?.split_at_checked(ID_LENGTH)?;
    secret.starts_with('_').then_some(id)
}

fn read(path: &Path) -> Result<Value, String> {
    let bytes =
        secret::read_bounded(path, FILE_BYTES_MAX).map_err(|error| format!("cannot be read: {}", error.kind()))?;
    let text = String::from_utf8(bytes).map_err(|_| "is not text".to_owned())?;
    let source = config::Config::builder().add_source(File::from_str(&text, FileFormat::Yaml)).build();
    // The parser's own words would show parts of the file.
    source.and_then(config::Config::try_deserialize).map_err(|_| "is not valid YAML".to_owned())
}

fn parse(entry: &Value) -> Result<(Arc<str>, TokenEntry), String> {
    let entry = entry.as_object().ok_or(": must be a map with id, sha256 and principal")?;
    if let Some(key) = entry.keys().find(|key| !["id", "sha256", "principal", "not_after"].contains(&key.as_str())) {
        let is_name = key.len() <= 32 && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        return Err(if is_name { format!(".{key}: unknown key") } else { ": has an unknown key".to_owned() });
    }
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let id = text("id").filter(|id| id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let id = id.ok_or(".id: must be the 8 characters after `psg_` of the token, in quotes")?;
    let digest = text("sha256").and_then(digest);
    let digest = digest.ok_or(".sha256: must be the SHA-256 of the whole token as 64 hexadecimal digits")?;
    let principal = text("principal").ok_or(".principal: must be the name of a principal")?;
    let not_after = match entry.get("not_after").filter(|value| !value.is_null()) {
        None => None,
        Some(value) => {
            let time = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            Some(time.ok_or(".not_after: must be a time such as 2027-02-28T00:00:00Z")?)
        }
    };
    let not_after = not_after.map(|time| UnixMillis(time.as_millisecond()));
    Ok((id.into(), TokenEntry { digest, principal: principal.into(), not_after }))
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests;
