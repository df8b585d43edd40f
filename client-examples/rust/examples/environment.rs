//! What the examples find in their environment: `client-examples/README.md` lists the variables.

use powerstream_consumer::{Consumer, ConsumerBuilder, CredentialFiles};
use tokio::signal::unix::{SignalKind, signal};

/// Returns the options of a consumer, whose name is the key of its token.
pub fn consumer(name: &str) -> ConsumerBuilder {
    let bearer = Some(text("BEARER_FILE", "")).filter(|path| !path.is_empty()).map(Into::into);
    Consumer::builder(text("GATEWAY", "http://127.0.0.1:50051"))
        .credentials(CredentialFiles { bearer, ..CredentialFiles::default() })
        .account(text("ACCOUNT", ""))
        .consumer(name)
        .any_of(text("FILTER_TAGS", "").split(',').filter(|tag| !tag.is_empty()))
}

/// Returns a variable. One that is empty counts as absent.
pub fn text(name: &str, absent: &str) -> String {
    std::env::var(name).ok().filter(|text| !text.is_empty()).unwrap_or_else(|| absent.into())
}

/// Logs on stderr.
pub fn log_to_stderr() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
}

/// Returns after SIGTERM or SIGINT.
pub async fn stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("Unix has it");
    let mut interrupt = signal(SignalKind::interrupt()).expect("Unix has it");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
