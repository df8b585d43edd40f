//! Certificate authorities of a test, with certificates and revocation lists.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, date_time_ymd,
};

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Identity {
    /// Certificate in PEM.
    pub certificate: String,
    /// Private key in PEM.
    pub key: String,
    /// Serial number, for revocation.
    pub serial: u64,
}

/// Years in which a certificate is valid.
pub type Years = std::ops::Range<i32>;

/// Years of a valid certificate.
pub const VALID: Years = 2020..2090;

/// When a certificate is valid.
pub enum Validity {
    /// In these years.
    Years(Years),
    /// Until this time since 1970.
    Until(Duration),
}

impl From<Years> for Validity {
    fn from(years: Years) -> Self {
        Self::Years(years)
    }
}

impl From<Duration> for Validity {
    fn from(since_1970: Duration) -> Self {
        Self::Until(since_1970)
    }
}

static SERIAL: AtomicU64 = AtomicU64::new(1_000);

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::new([]).expect("no names are valid names");
    let name = format!("test authority {}", SERIAL.fetch_add(1, Ordering::Relaxed));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    /// Creates a root.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(authority_params(), key).expect("self-signed"))
    }

    /// Creates an authority below this one.
    pub fn intermediate(&self) -> Self {
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::signed_by(authority_params(), key, &self.0).expect("signed"))
    }

    /// Returns its certificate in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for these DNS names, addresses and URIs.
    pub fn issue(&self, names: &[&str], validity: impl Into<Validity>) -> Identity {
        let (uris, names): (Vec<&str>, Vec<&str>) = names.iter().copied().partition(|name| name.contains("://"));
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        let uri = |name: &&str| SanType::URI((*name).try_into().expect("ASCII"));
        params.subject_alt_names.extend(uris.iter().map(uri));
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(serial.into());
        (params.not_before, params.not_after) = match validity.into() {
            Validity::Years(years) => (date_time_ymd(years.start, 1, 1), date_time_ymd(years.end, 1, 1)),
            Validity::Until(since_1970) => (date_time_ymd(VALID.start, 1, 1), date_time_ymd(1970, 1, 1) + since_1970),
        };
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("signed").pem();
        Identity { certificate, key: key.serialize_pem(), serial }
    }

    /// Returns a revocation list in PEM, for these certificates.
    pub fn revocation_list(&self, revoked: &[&Identity], years: Years) -> String {
        let this_update = date_time_ymd(years.start, 1, 1);
        let revoked = revoked.iter().map(|identity| RevokedCertParams {
            serial_number: identity.serial.into(),
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update,
            next_update: date_time_ymd(years.end, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).expect("signed").pem().expect("PEM")
    }
}
