//! What the examples find in their environment: `client-examples/README.md` lists the variables.

use std::env::var;

use powerstream_consumer::{Consumer, ConsumerBuilder, CredentialFiles};
use tokio::signal::unix::{SignalKind, signal};

/// Returns the options of a consumer.
pub fn consumer() -> ConsumerBuilder {
    let text = |name: &str| var(name).unwrap_or_default();
    let bearer = Some(text("BEARER_FILE")).filter(|path| !path.is_empty()).map(Into::into);
    Consumer::builder(var("GATEWAY").unwrap_or_else(|_| "http://127.0.0.1:50051".into()))
        .credentials(CredentialFiles { bearer, ..CredentialFiles::default() })
        .account(text("ACCOUNT"))
        .consumer(name())
        .any_of(text("FILTER_TAGS").split(',').filter(|tag| !tag.is_empty()))
}

/// Returns the name of the consumer, which is the key of its token.
pub fn name() -> String {
    var("CONSUMER").unwrap_or_else(|_| "example-rust".into())
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
