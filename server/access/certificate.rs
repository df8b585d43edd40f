//! Names of a client certificate.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;

use crate::model::UnixMillis;

/// Scheme of workload identities. A certificate has one at most (SPIFFE X.509-SVID, 2).
const SPIFFE: &str = "spiffe://";

/// Issuer and serial number of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateSerial {
    /// Distinguished name of the issuer in DER.
    issuer: Box<[u8]>,
    /// Serial number, without leading zeros.
    pub(super) serial: Box<[u8]>,
}

impl CertificateSerial {
    /// Creates one of the bytes of both in a certificate or a revocation list.
    pub(super) fn new(issuer: &[u8], serial: &[u8]) -> Self {
        Self { issuer: issuer.into(), serial: Self::without_zeros(serial).into() }
    }

    /// Returns a number without leading zeros: DER adds one before a high first bit.
    pub(super) fn without_zeros(serial: &[u8]) -> &[u8] {
        &serial[serial.iter().take_while(|byte| **byte == 0).count()..]
    }
}

/// Names of a verified client certificate. The common name is not one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateNames {
    /// URIs, then DNS names, of the subject alternative name.
    pub names: Vec<Arc<str>>,
    /// SHA-256 of the certificate.
    pub digest: [u8; 32],
    /// End of its validity.
    pub not_after: UnixMillis,
    /// Issuer and serial number; `None` if it cannot be parsed.
    pub serial: Option<Arc<CertificateSerial>>,
}

impl CertificateNames {
    /// Reads the names of a certificate in DER. A certificate that cannot be parsed, or that has several URIs of which one is
    /// a SPIFFE URI, has no names: it authenticates no principal.
    pub fn parse(der: &[u8]) -> Self {
        let digest = Sha256::digest(der).into();
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else {
            return Self { names: Vec::new(), digest, not_after: UnixMillis(0), serial: None };
        };
        let not_after = UnixMillis(certificate.validity().not_after.timestamp().saturating_mul(1_000));
        let san = certificate.subject_alternative_name().ok().flatten();
        let all = || san.iter().flat_map(|san| &san.value.general_names);
        let uris: Vec<Arc<str>> = all()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).into()),
                _ => None,
            })
            .collect();
        let dns = all().filter_map(|name| match name {
            GeneralName::DNSName(dns) => Some((*dns).into()),
            _ => None,
        });
        let is_ambiguous = uris.len() > 1 && uris.iter().any(|uri| uri.starts_with(SPIFFE));
        let names = if is_ambiguous { Vec::new() } else { uris.iter().cloned().chain(dns).collect() };
        let serial = CertificateSerial::new(certificate.issuer().as_raw(), certificate.raw_serial());
        Self { names, digest, not_after, serial: Some(serial.into()) }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn names(common_name: &str, san: Vec<SanType>) -> Vec<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        params.subject_alt_names = san;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let parsed = CertificateNames::parse(certificate.der());
        assert!(parsed.not_after > UnixMillis(0));
        parsed.names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_unambiguous_alternative_names_count() {
        let uri = |text: &str| SanType::URI(text.try_into().expect("ASCII"));
        let dns = |text: &str| SanType::DnsName(text.try_into().expect("ASCII"));
        let one = "spiffe://prod/ns/search/sa/indexer";
        assert_eq!(names("indexer", vec![]), [""; 0], "the common name is no name");
        assert_eq!(names("x", vec![dns("a.example"), uri(one)]), [one, "a.example"], "URIs first");
        assert_eq!(names("x", vec![uri("https://a"), uri("https://b")]), ["https://a", "https://b"]);
        assert_eq!(names("x", vec![uri(one), uri("spiffe://prod/ns/admin")]), [""; 0]);
        assert_eq!(names("x", vec![uri("https://a"), uri(one), dns("a.example")]), [""; 0]);
        assert!(CertificateNames::parse(b"garbage").names.is_empty());
    }
}
