//! Which files are usable, and what is reported of the others.

use super::*;

type Change = (&'static str, fn(&TestFiles), &'static [(&'static str, &'static str)]);

/// Changes to a valid set of files, with the faults that `check` reports.
const CHANGES: &[Change] = &[
    ("valid", |_| (), &[]),
    ("chain", |files| files.write_pair(&chained(&files.authority)), &[]),
    ("key of another pair", |files| drop(files.write("key_file", other().key)), &[("key_file", "does not match")]),
    (
        "certificate of another pair",
        |files| drop(files.write("cert_file", other().certificate)),
        &[("key_file", "does not match")],
    ),
    (
        "expired",
        |files| files.write_pair(&files.authority.issue(&["localhost"], 2020..2021)),
        &[("cert_file", "expired at 2021-01-01T00:00:00Z; replace it")],
    ),
    (
        "not yet valid",
        |files| files.write_pair(&files.authority.issue(&["localhost"], 2080..2081)),
        &[("cert_file", "valid from 2080-01-01T00:00:00Z")],
    ),
    (
        "arbitrary certificate",
        |files| drop(files.write("cert_file", [7; 999])),
        &[("cert_file", "no certificate in PEM")],
    ),
    ("arbitrary key", |files| drop(files.write("key_file", [7; 999])), &[("key_file", "no unencrypted private key")]),
    ("empty certificate", |files| drop(files.write("cert_file", "")), &[("cert_file", "no certificate")]),
    ("empty key", |files| drop(files.write("key_file", "")), &[("key_file", "no unencrypted private key")]),
    (
        "certificate in PEM that is none",
        |files| drop(files.write("cert_file", pem("CERTIFICATE", "AAAA"))),
        &[("cert_file", "certificate 1 is malformed")],
    ),
    (
        "key in PEM that is none",
        |files| drop(files.write("key_file", pem("PRIVATE KEY", "AAAA"))),
        &[("key_file", "malformed or of an unsupported kind")],
    ),
    (
        "encrypted key",
        |files| drop(files.write("key_file", pem("ENCRYPTED PRIVATE KEY", "AAAA"))),
        &[("key_file", "no unencrypted private key")],
    ),
    ("half a certificate", |files| files.truncate("cert_file"), &[("cert_file", "has no end")]),
    ("half a key", |files| files.truncate("key_file"), &[("key_file", "has no end")]),
    ("files swapped", TestFiles::swap, &[("cert_file", "no certificate"), ("key_file", "no unencrypted private key")]),
    ("no certificate", |files| files.remove("cert_file"), &[("cert_file", "failed to read: entity not found")]),
    ("no key", |files| files.remove("key_file"), &[("key_file", "failed to read: entity not found")]),
    (
        "directory",
        |files| {
            files.remove("cert_file");
            std::fs::create_dir(files.dir.path().join("cert_file")).expect("the directory is ours");
        },
        &[("cert_file", "not a regular file")],
    ),
    (
        "long",
        |files| {
            files.write("cert_file", vec![b'a'; (1 << 20) + 1]);
            files.write("key_file", vec![b'a'; (64 << 10) + 1]);
        },
        &[("cert_file", "more than 1048576 bytes"), ("key_file", "more than 65536 bytes")],
    ),
    ("arbitrary CA", |files| drop(files.write("client_ca_file", "x")), &[("client_ca_file", "no certificate")]),
    ("no CA", |files| files.remove("client_ca_file"), &[("client_ca_file", "entity not found")]),
    ("arbitrary list", |files| drop(files.write("crl_file", "x")), &[("crl_files[0]", "no revocation list in PEM")]),
    (
        "list in PEM that is none",
        |files| drop(files.write("crl_file", pem("X509 CRL", "AAAA"))),
        &[("crl_files[0]", "revocation list is malformed")],
    ),
    ("list in DER that is none", |files| drop(files.write("crl_file", "0x")), &[("crl_files[0]", "is malformed")]),
];

fn other() -> Identity {
    Authority::new().issue(&["localhost"], VALID)
}

/// A certificate of an intermediate authority, with that authority's.
fn chained(root: &Authority) -> Identity {
    let intermediate = root.intermediate();
    let identity = intermediate.issue(&["localhost"], VALID);
    Identity { certificate: format!("{}{}", identity.certificate, intermediate.pem()), ..identity }
}

fn pem(label: &str, base64: &str) -> String {
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

impl TestFiles {
    fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join(name)).expect("it exists");
    }

    fn truncate(&self, name: &str) {
        let content = std::fs::read(self.dir.path().join(name)).expect("it exists");
        self.write(name, &content[..content.len() / 2]);
    }

    fn swap(&self) {
        let read = |name| std::fs::read(self.dir.path().join(name)).expect("it exists");
        let (certificate, key) = (read("cert_file"), read("key_file"));
        self.write("cert_file", key);
        self.write("key_file", certificate);
    }
}

#[test]
fn each_unusable_file_is_reported_with_key() {
    for (name, change, expected) in CHANGES {
        let ca = Authority::new();
        let mut files = TestFiles::with_client_auth(ClientAuth::Required, &ca);
        files.config.crl_files = vec![files.write("crl_file", ca.revocation_list(&[], VALID))];
        let secret = std::fs::read_to_string(files.dir.path().join("key_file")).expect("it exists");
        change(&files);
        let found = check(PORT, &files.config, &Clock::system()).err().map_or(Vec::new(), |errors| errors.0);
        assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
        for (error, (key, words)) in found.iter().zip(*expected) {
            assert_eq!(error.key, format!("grpc.tls.{key}"), "{name}: {error}");
            let text = error.to_string();
            let path = files.dir.path().join(key.replace("s[0]", "")).display().to_string();
            assert!(text.contains(words) && text.contains(&path), "{name}: {words} in {text}");
            assert!(!secret.lines().filter(|line| line.len() > 8).any(|line| text.contains(line)), "{name}: {text}");
        }
        let metrics = Registry::new(UnixMillis(0)).process(Metrics::register);
        let usable = TlsListener::load(PORT, &files.config, &Clock::system(), &metrics).is_ok();
        let is_of_time = found.iter().all(|error| error.problem.is_of_time());
        assert_eq!(usable, is_of_time, "{name}: a start does not depend on the validity of the certificate");
    }
}

/// A section without its CA would be one without client authentication.
#[test]
fn incomplete_section_is_never_loaded() {
    let mut files = TestFiles::new();
    files.config.client_auth = ClientAuth::Required;
    let metrics = Registry::new(UnixMillis(0)).process(Metrics::register);
    let loaded = TlsListener::load(PORT, &files.config, &Clock::system(), &metrics);
    let error = loaded.err().expect("refused").to_string();
    assert!(error.starts_with("grpc.tls.client_ca_file: client_auth needs this"), "{error}");
}
