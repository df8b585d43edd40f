//! From the contents of the files to a `rustls::ServerConfig`.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use super::config::{ClientAuth, Config, ConfigFault, MinVersion, Port};
use super::files::{FileContent, Files, Fingerprint, TlsError, TlsErrors, TlsProblem};
use crate::clock::Clock;

/// A configuration that can be used for handshakes.
pub(super) struct Loaded {
    pub(super) server: Arc<ServerConfig>,
    pub(super) fingerprint: Fingerprint,
    /// End of the certificate's validity, in seconds since 1970.
    pub(super) not_after: i64,
    /// Earliest next update of the revocation lists, in seconds since 1970.
    pub(super) crl_next_update: Option<i64>,
    /// The certificate is outside of its validity.
    pub(super) out_of_time: Option<TlsError>,
}

/// Checks the files of a section, for `check`: everything that would keep a port from being used.
pub fn check(port: Port, config: &Config, clock: &Clock) -> Result<(), TlsErrors> {
    if !config.is_enabled() {
        return Ok(());
    }
    let loaded = load(port, config, &Files::read(port.section, config), clock)?;
    loaded.out_of_time.map_or(Ok(()), |error| Err(TlsErrors(vec![error])))
}

/// Builds a configuration. Returns all unusable files at once.
pub(super) fn load(port: Port, config: &Config, files: &Files, clock: &Clock) -> Result<Loaded, TlsErrors> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    // An incomplete section must not become one without client authentication.
    let fault = |fault: ConfigFault| TlsError {
        key: format!("{}.tls.{}", port.section, fault.key),
        file: PathBuf::new(),
        problem: TlsProblem::Malformed(fault.text.into()),
    };
    let mut errors: Vec<_> = config.faults().into_iter().map(fault).collect();
    let mut keep = |error: TlsError| errors.push(error);
    let chain = certificates(&files.cert).map_err(&mut keep).ok();
    let key = private_key(&files.key).map_err(&mut keep).ok();
    let roots = files.client_ca.as_ref().and_then(|file| roots(file).map_err(&mut keep).ok());
    let crls: Vec<_> = files.crls.iter().filter_map(|file| crls(file).map_err(&mut keep).ok()).flatten().collect();
    let pair = chain.zip(key).and_then(|(chain, key)| pair(files, chain, key, &provider).map_err(&mut keep).ok());
    let crl_next_update = crls.iter().filter_map(|(_, next_update)| *next_update).min();
    let crls = crls.into_iter().map(|(crl, _)| crl);
    let verifier = verifier(config, files, roots, crls.collect(), &provider).map_err(&mut keep).ok();
    let (Some(fingerprint), Some((pair, validity)), Some(verifier), true) =
        (files.fingerprint(), pair, verifier, errors.is_empty())
    else {
        return Err(TlsErrors(errors));
    };
    let time = Arc::new(HostTime(clock.clone()));
    let mut server = ServerConfig::builder_with_details(provider, time)
        .with_protocol_versions(versions(config.min_version))
        .map_err(|error| TlsErrors(vec![files.cert.error(TlsProblem::Malformed(error.to_string()))]))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    server.alpn_protocols = port.protocols.iter().map(|protocol| protocol.to_vec()).collect();
    if config.client_auth != ClientAuth::None {
        // A resumed session takes over the client's chain without verifying it again.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
    }
    let out_of_time = validity.problem(clock).map(|problem| files.cert.error(problem));
    let not_after = validity.not_after;
    Ok(Loaded { server: Arc::new(server), fingerprint, not_after, crl_next_update, out_of_time })
}

fn versions(min: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    static FROM_12: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match min {
        MinVersion::Tls12 => &FROM_12,
        MinVersion::Tls13 => &FROM_12[..1],
    }
}

/// Time of the host: X's `Date` headers have no influence on it.
#[derive(Debug)]
struct HostTime(Clock);

impl TimeProvider for HostTime {
    fn current_time(&self) -> Option<UnixTime> {
        let millis = u64::try_from(self.0.now().0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(millis)))
    }
}

/// Validity of a certificate, in seconds since 1970.
struct Validity {
    not_before: i64,
    not_after: i64,
}

impl Validity {
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let validity = parsed.validity();
        Some(Self { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
    }

    fn problem(&self, clock: &Clock) -> Option<TlsProblem> {
        let now = clock.now().0.div_euclid(1_000);
        let time = |seconds| Timestamp::from_second(seconds).unwrap_or_default();
        if now > self.not_after {
            Some(TlsProblem::Expired(time(self.not_after)))
        } else {
            (now < self.not_before).then(|| TlsProblem::NotYetValid(time(self.not_before)))
        }
    }
}

/// Returns the PEM sections of one kind.
fn sections<T: PemObject>(bytes: &[u8], what: &str) -> Result<Vec<T>, TlsProblem> {
    let found: Result<Vec<T>, pem::Error> = T::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsProblem::Malformed(format!("contains no {what} in PEM"))),
        Ok(found) => Ok(found),
        Err(pem::Error::MissingSectionEnd { .. }) => Err(TlsProblem::Malformed("PEM section has no end".into())),
        Err(_) => Err(TlsProblem::Malformed("PEM is malformed".into())),
    }
}

/// Returns the certificates of a file, each of which can be parsed.
fn certificates(file: &FileContent) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<CertificateDer<'static>> =
        sections(file.content()?, "certificate").map_err(|problem| file.error(problem))?;
    match found.iter().position(|certificate| Validity::of(certificate).is_none()) {
        Some(n) => Err(file.error(TlsProblem::Malformed(format!("certificate {} is malformed", n + 1)))),
        None => Ok(found),
    }
}

fn private_key(file: &FileContent) -> Result<PrivateKeyDer<'static>, TlsError> {
    let found = sections(file.content()?, "unencrypted private key").map_err(|problem| file.error(problem))?;
    let first = found.into_iter().next();
    first.ok_or_else(|| file.error(TlsProblem::Malformed("contains no private key".into())))
}

fn pair(
    files: &Files,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Validity), TlsError> {
    let malformed = |file: &FileContent, text: &str| file.error(TlsProblem::Malformed(text.into()));
    let validity = chain.first().and_then(Validity::of);
    let validity = validity.ok_or_else(|| malformed(&files.cert, "certificate 1 is malformed"))?;
    match CertifiedKey::from_der(chain, key, provider) {
        Ok(pair) => Ok((pair, validity)),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(files.key.error(TlsProblem::KeyMismatch)),
        Err(Error::InvalidCertificate(_)) => Err(malformed(&files.cert, "certificate 1 is not one of a server")),
        Err(_) => Err(malformed(&files.key, "private key is malformed or of an unsupported kind")),
    }
}

fn roots(file: &FileContent) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for (n, certificate) in certificates(file)?.into_iter().enumerate() {
        let added = store.add(certificate);
        added.map_err(|_| file.error(TlsProblem::Malformed(format!("certificate {} is not usable as a CA", n + 1))))?;
    }
    Ok(store)
}

/// Returns the revocation lists of a file.
pub fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let lists = crls(&FileContent::revocation_lists("crl_files", path))?;
    Ok(lists.into_iter().map(|(list, _)| list).collect())
}

/// A revocation list, with its next update in seconds since 1970.
type Crl = (CertificateRevocationListDer<'static>, Option<i64>);

fn crls(file: &FileContent) -> Result<Vec<Crl>, TlsError> {
    /// Tag of a DER sequence.
    const SEQUENCE: u8 = 0x30;
    let bytes = file.content()?;
    let found = match bytes.first() {
        Some(&SEQUENCE) => vec![CertificateRevocationListDer::from(bytes.to_vec())],
        _ => sections(bytes, "revocation list").map_err(|problem| file.error(problem))?,
    };
    let parsed = found.into_iter().map(|crl| {
        let next_update = x509_parser::parse_x509_crl(&crl).ok()?.1.next_update();
        let next_update = next_update.map(|time| time.timestamp());
        Some((crl, next_update))
    });
    let parsed: Option<Vec<_>> = parsed.collect();
    parsed.ok_or_else(|| file.error(TlsProblem::Malformed("revocation list is malformed".into())))
}

fn verifier(
    config: &Config,
    files: &Files,
    roots: Option<RootCertStore>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let (Some(roots), true) = (roots, config.client_auth != ClientAuth::None) else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .with_crls(crls)
        .enforce_revocation_expiration();
    let builder = if config.client_auth == ClientAuth::Optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| {
        let file = files.crls.first().or(files.client_ca.as_ref()).unwrap_or(&files.cert);
        file.error(TlsProblem::Malformed(error.to_string()))
    })
}
