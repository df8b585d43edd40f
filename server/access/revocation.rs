//! Credentials that are revoked before the end of their validity: JWTs and certificates of `auth.revoked_file`, and
//! certificates of the revocation lists of TLS, which would otherwise end no open session.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config::{File, FileFormat};
use serde_json::Value;

use super::AccessFault;
use super::certificate::CertificateSerial;
use super::credential::Credential;
use crate::{secret, tls};

/// Maximum bytes of a file: an entry has about 80.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Maximum entries of a file.
const ENTRIES_MAX: usize = 10_000;

/// Revoked credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Revocations {
    /// Ids of JWTs (`jti`) by issuer.
    tokens: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
    /// Subjects of JWTs by issuer.
    subjects: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
    /// Serial numbers of certificates, of any authority.
    serials: BTreeSet<Box<[u8]>>,
    /// Certificates of revocation lists.
    listed: BTreeSet<CertificateSerial>,
}

impl Revocations {
    /// Reads `auth.revoked_file` and revocation lists.
    pub(super) fn load(file: Option<&Path>, crl_files: &[PathBuf], faults: &mut Vec<AccessFault>) -> Self {
        let mut own = Self::default();
        let mut fault = |path: &Path, text: String| {
            faults.push(AccessFault { path: path.display().to_string(), text });
        };
        if let Some(path) = file {
            own.add_file(path).unwrap_or_else(|texts| texts.into_iter().for_each(|text| fault(path, text)));
        }
        for path in crl_files {
            own.add_list(path).unwrap_or_else(|text| fault(path, text));
        }
        own
    }

    /// True if a credential is revoked.
    pub(super) fn contains(&self, credential: &Credential) -> bool {
        if let Some(serial) = &credential.serial
            && (self.serials.contains(&serial.serial) || self.listed.contains(&**serial))
        {
            return true;
        }
        let Some(jwt) = &credential.jwt else { return false };
        let has = |by_issuer: &BTreeMap<Box<str>, BTreeSet<Box<str>>>, text: &str| {
            by_issuer.get(&*jwt.issuer).is_some_and(|own| own.contains(text))
        };
        let id = jwt.claims.texts("jti").and_then(|texts| texts.first());
        has(&self.subjects, &jwt.claims.subject) || id.is_some_and(|id| has(&self.tokens, id))
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Vec<String>> {
        let one = |text: &str| vec![text.to_owned()];
        let bytes = secret::read_bounded(path, FILE_BYTES_MAX)
            .map_err(|error| vec![format!("cannot be read: {}", error.kind())])?;
        let text = String::from_utf8(bytes).map_err(|_| one("is not text"))?;
        let source = config::Config::builder().add_source(File::from_str(&text, FileFormat::Yaml)).build();
        let tree = source.and_then(config::Config::try_deserialize::<Value>).map_err(|_| one("is not valid YAML"))?;
        let entries = tree.get("revoked").and_then(Value::as_array).ok_or_else(|| one("has no list `revoked`"))?;
        if entries.len() > ENTRIES_MAX {
            return Err(vec![format!("has too many entries: at most {ENTRIES_MAX} are allowed")]);
        }
        let mut faults = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            if self.add_entry(entry).is_none() {
                faults.push(format!(
                    "revoked[{n}]: must be {{ issuer, jti }}, {{ issuer, subject }} or {{ serial }}: texts in quotes, the \
                     serial number in hexadecimal digits"
                ));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn add_entry(&mut self, entry: &Value) -> Option<()> {
        let entry = entry.as_object()?;
        let text = |key: &str| entry.get(key)?.as_str().filter(|text| !text.is_empty());
        let is_of = |keys: &[&str]| entry.len() == keys.len() && keys.iter().all(|key| entry.contains_key(*key));
        if is_of(&["serial"]) {
            self.serials.insert(serial(text("serial")?)?);
        } else if is_of(&["issuer", "jti"]) {
            self.tokens.entry(text("issuer")?.into()).or_default().insert(text("jti")?.into());
        } else if is_of(&["issuer", "subject"]) {
            self.subjects.entry(text("issuer")?.into()).or_default().insert(text("subject")?.into());
        } else {
            return None;
        }
        Some(())
    }

    fn add_list(&mut self, path: &Path) -> Result<(), String> {
        for list in tls::revocation_lists(path).map_err(|error| error.to_string())? {
            let (_, list) = x509_parser::parse_x509_crl(&list).map_err(|_| "is not a revocation list".to_owned())?;
            let issuer = list.issuer().as_raw();
            let revoked = list.iter_revoked_certificates();
            self.listed.extend(revoked.map(|own| CertificateSerial::new(issuer, own.raw_serial())));
        }
        Ok(())
    }
}

/// Parses a serial number as `openssl x509 -serial` prints it: hexadecimal digits, with colons or without.
fn serial(text: &str) -> Option<Box<[u8]>> {
    let digits: String = text.chars().filter(|digit| *digit != ':').collect();
    let digits = if digits.len().is_multiple_of(2) { digits } else { format!("0{digits}") };
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect::<Option<_>>()?;
    Some(CertificateSerial::without_zeros(&bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> (Revocations, Vec<String>) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("revoked.yaml");
        std::fs::write(&path, text).expect("the directory is ours");
        let mut faults = Vec::new();
        let own = Revocations::load(Some(&path), &[], &mut faults);
        (own, faults.into_iter().map(|fault| fault.text).collect())
    }

    #[test]
    fn malformed_entries_are_faults() {
        for (text, expected) in [
            ("revoked: []", ""),
            (
                "revoked:\n  - { serial: \"0a:1B\" }\n  - { issuer: corp, jti: \"1\" }\n  - { issuer: corp, subject: a }",
                "",
            ),
            ("tokens: []", "has no list"),
            ("revoked: 7", "has no list"),
            ("revoked: [7]", "revoked[0]"),
            ("revoked:\n  - { serial: \"xyz\" }", "revoked[0]"),
            ("revoked:\n  - { serial: \"\" }", "revoked[0]"),
            ("revoked:\n  - { issuer: corp }", "revoked[0]"),
            ("revoked:\n  - { jti: \"1\" }", "revoked[0]"),
            ("revoked:\n  - { issuer: corp, jti: \"1\", subject: a }", "revoked[0]"),
            ("revoked:\n  - { issuer: corp, jti: \"\" }", "revoked[0]"),
            ("{", "YAML"),
        ] {
            let (_, faults) = load(text);
            assert_eq!(faults.is_empty(), expected.is_empty(), "{text}: {faults:?}");
            assert!(faults.iter().all(|fault| fault.contains(expected)), "{text}: {faults:?}");
        }
    }

    #[test]
    fn serial_numbers_have_one_form() {
        let expected: &[u8] = &[0x0a, 0x1b];
        for text in ["0a1b", "0A:1B", "A1B", "000a1b", "00:0a:1b"] {
            assert_eq!(serial(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", ":", "0x0a", "g", "0a 1b", "é"] {
            assert_eq!(serial(text), None, "{text}");
        }
    }

    /// Certificates of a revocation list, of the authority that issued it only.
    #[test]
    fn listed_certificates_are_revoked() {
        use tokio_rustls::rustls::pki_types::CertificateDer;
        use tokio_rustls::rustls::pki_types::pem::PemObject;

        use crate::access::{CertificateNames, CredentialKind};
        use crate::tls::tests::pki::{Authority, VALID};

        let [ours, other] = [Authority::new(), Authority::new()];
        let [revoked, kept] = [ours.issue(&["a.example"], VALID), ours.issue(&["a.example"], VALID)];
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("crl.pem");
        let credential = |certificate: &str| {
            let der = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
            let serial = CertificateNames::parse(&der).serial;
            assert!(serial.is_some());
            Credential { kind: CredentialKind::Certificate, serial, ..Credential::anonymous() }
        };
        for (authority, listed, expected) in [
            (&ours, vec![&revoked], [true, false]),
            (&ours, vec![], [false, false]),
            (&other, vec![&revoked], [false; 2]),
        ] {
            std::fs::write(&path, authority.revocation_list(&listed, VALID)).expect("ours");
            let mut faults = Vec::new();
            let own = Revocations::load(None, std::slice::from_ref(&path), &mut faults);
            assert_eq!(faults, []);
            let found = [&revoked, &kept].map(|identity| own.contains(&credential(&identity.certificate)));
            assert_eq!(found, expected);
        }
        std::fs::write(&path, "x").expect("ours");
        let mut faults = Vec::new();
        drop(Revocations::load(None, &[path], &mut faults));
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}
