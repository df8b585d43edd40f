//! Which server an example trusts.

use std::path::Path;

use super::env::Stage;
use super::example::Example;
use super::language::Language;
use crate::harness::env::sum;
use crate::harness::pki::Authority;
use crate::harness::probe;

/// Handshakes that the gateway has completed.
async fn handshakes(stage: &Stage) -> f64 {
    let metrics = probe::get(stage.gateway().admin(), "/metrics").await.1;
    let completed = |line: &&str| line.contains("tls_handshakes_total{") && line.contains("outcome=\"completed\"");
    sum(&metrics.lines().filter(completed).collect::<Vec<_>>().join("\n"), "tls_handshakes_total")
}

/// True if a line reports that the connection failed because of the certificate, and that the example continues.
fn names_certificate(line: &str) -> bool {
    let line = line.to_lowercase();
    let is_clear = ["certificate", "certification path", "unknownissuer"].iter().any(|word| line.contains(word));
    line.contains("disconnected: ") && line.contains("; reconnecting in ") && is_clear
}

/// An example trusts the authorities of its file only, and by default those of the system only.
pub async fn unknown_authority_is_not_trusted(language: Language) {
    let stage = Stage::new(language).await;
    let other = stage.security.put("other.pem", &Authority::new().pem());
    let dir = |name: &str| {
        let dir = stage.env.dir().join(name);
        std::fs::create_dir(&dir).expect("the directory is ours");
        dir
    };
    let addr = format!("dns:///localhost:{}", stage.network.port());
    let example = |dir: &Path| {
        Example::new(language, dir, &addr)
            .with_variable("GATEWAY_TOKEN_FILE", &stage.security.token_file())
            .with_variable("GATEWAY_TLS", "1")
    };
    let mut trusting = example(&dir("trusting")).with_variable("GATEWAY_CA_FILE", &stage.security.ca_file());
    trusting.start();
    trusting.reports("caught up: ").await;
    trusting.prints(20).await;
    trusting.stop().await;
    let completed = handshakes(&stage).await;
    assert!(completed >= 1.0, "it speaks TLS, and HTTP/2 in it");

    let mut by_file = example(&dir("other")).with(&["--ca-file", &other.display().to_string()]);
    let mut by_system = example(&dir("system"));
    for wary in [&mut by_file, &mut by_system] {
        wary.start();
    }
    for wary in [&mut by_file, &mut by_system] {
        // `localhost` has two addresses: a channel may report first that one of them is refused.
        wary.until("it names the certificate", |life| life.stderr().lines().any(names_certificate)).await;
        wary.stop().await;
        assert_eq!(wary.cursor(), None, "it believes nothing of an unknown server");
        assert_eq!(wary.life().all_lines(), [], "nor anything that it sends");
    }
    assert_eq!(handshakes(&stage).await, completed, "no handshake was completed with it");
}
