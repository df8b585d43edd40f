use std::path::Path;

use crate::config::Config;
use crate::retry_policy::Ending;

/// What CONNECT presents: a token, a client certificate with its key, both, or nothing.
#[derive(Default, PartialEq, Eq)]
pub struct Credential {
    pub token: Option<String>,
    /// Certificate and key in PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Credential {
    /// Reads all files of the credential again: any of them may have been rotated.
    pub fn read(config: &Config) -> Result<Self, Ending> {
        let token = config.token_file.as_deref().map(token).transpose()?;
        let identity = config.identity.as_ref().map(|files| Ok((pem(&files.cert_file)?, pem(&files.key_file)?)));
        Ok(Self { token, identity: identity.transpose()? })
    }
}

/// The first line of the token file.
fn token(path: &Path) -> Result<String, Ending> {
    let bytes = read(path)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    if line.is_empty() || !line.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Err(unusable(path, "its first line is empty or not ASCII"));
    }
    Ok(String::from_utf8_lossy(line).into_owned())
}

fn pem(path: &Path) -> Result<Vec<u8>, Ending> {
    let bytes = read(path)?;
    let begin = b"-----BEGIN ";
    let has_pem = bytes.windows(begin.len()).any(|part| part == begin);
    has_pem.then_some(bytes).ok_or_else(|| unusable(path, "it contains no PEM"))
}

fn unusable(path: &Path, why: &str) -> Ending {
    Ending::Unreadable(format!("cannot read a credential from {}: {why}", path.display()))
}

pub fn read(path: &Path) -> Result<Vec<u8>, Ending> {
    std::fs::read(path).map_err(|error| Ending::Unreadable(format!("cannot read {}: {error}", path.display())))
}
