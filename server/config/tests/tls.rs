//! Sections `tls` and `reload`.

use super::*;

#[test]
fn tls_errors_name_their_path() {
    let top = |more: &str| format!("{MINIMAL}{more}\n");
    for (text, path, word) in [
        (top("grpc: { tlss: {} }"), "grpc.tlss", "did you mean tls?"),
        (top("grpc: { tls: { cert_file: a } }"), "grpc.tls.key_file", "cert_file needs this"),
        (top("admin: { tls: { key_file: a } }"), "admin.tls.cert_file", "key_file needs this"),
        (top("grpc: { tls: { client_auth: required, client_ca_file: a } }"), "grpc.tls.client_auth", "this needs TLS"),
        (
            top("grpc: { tls: { cert_file: a, key_file: b, client_auth: optional } }"),
            "grpc.tls.client_ca_file",
            "client_auth needs this",
        ),
        (
            top("grpc: { tls: { cert_file: a, key_file: b, client_ca_file: c } }"),
            "grpc.tls.client_ca_file",
            "this has no effect",
        ),
        (top("grpc: { tls: { cert_file: a, key_file: b, crl_files: [c] } }"), "grpc.tls.crl_files", "no effect"),
        (top("grpc: { tls: { client_auth: yes please } }"), "grpc.tls.client_auth", "none, optional, required"),
        (top("grpc: { tls: { min_version: '1.1' } }"), "grpc.tls.min_version", "one of 1.2, 1.3"),
        (top("grpc: { tls: { min_version: 1.3 } }"), "grpc.tls.min_version", "in quotes"),
        (top("grpc: { tls: { handshake_timeout: 0s } }"), "grpc.tls.handshake_timeout", "between 100ms and"),
        (top("grpc: { tls: { handshakes_max: 0 } }"), "grpc.tls.handshakes_max", "at least 1"),
        (top("reload: { interval: 0s }"), "reload.interval", "between 100ms and 1day"),
    ] {
        check(yaml(&text), &[(path, word)]);
    }
}

#[test]
fn variable_sets_minimum_version() {
    let version = "POWERSTREAM_GATEWAY__GRPC__TLS__MIN_VERSION";
    let settings = load_text("yaml", MINIMAL, &[], &[(version, "1.3")]).expect("valid");
    assert_eq!(settings.grpc.tls.min_version, crate::tls::MinVersion::Tls13);
    assert!(!settings.grpc.tls.is_enabled());
}
