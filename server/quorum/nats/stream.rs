//! Definitions of the stream and the bucket of an account.

use std::time::Duration;

use async_nats::HeaderName;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};

use super::super::error::Unavailable;
use super::super::place::Subject;
use super::super::traits::{LogInfo, SharedIdentity};
use super::connection::NatsConnection;
use crate::model::{AccountName, Epoch};

/// Header with the chain of a message.
pub(super) const CHAIN: HeaderName = HeaderName::from_static("psgw-chain");
/// Entry of the stream's metadata that contains the epoch.
const EPOCH: &str = "psgw-epoch";
/// The same for the epoch of the side log.
const SIDE_EPOCH: &str = "psgw-side-epoch";
/// Bytes of all keys of an account; JetStream reserves them on each node.
const KEYS_BYTES_MAX: i64 = 16 << 20;
/// Shortest window of message ids that JetStream accepts. No message has one.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

/// Size of the stream of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// How long messages are kept.
    pub age_max: Duration,
    /// Maximum bytes, which JetStream reserves on each node. The oldest messages are removed first.
    pub bytes_max: u64,
    /// Copies on nodes of the cluster.
    pub replicas: usize,
}

/// Returns the name of an account's stream.
pub(super) fn log_name(account: &AccountName) -> String {
    format!("psgw_{account}")
}

/// Returns the name of an account's bucket.
pub(super) fn bucket_name(account: &AccountName) -> String {
    format!("psgw_{account}")
}

/// Last part of a subject of the stream.
pub(super) fn suffix(subject: Subject) -> &'static str {
    match subject {
        Subject::Log => "log",
        Subject::Side => "side",
        Subject::Checkpoint => "checkpoint",
    }
}

pub(super) const SUBJECTS: [Subject; 3] = [Subject::Log, Subject::Side, Subject::Checkpoint];

/// Returns the definition of an account's stream.
pub(super) fn log_config(account: &AccountName, identity: SharedIdentity, limits: StreamLimits) -> Config {
    let entry = |name: &str, epoch: Epoch| (name.to_owned(), epoch.to_string());
    Config {
        name: log_name(account),
        subjects: SUBJECTS.map(|subject| format!("psgw.{account}.{}", suffix(subject))).into(),
        description: Some(format!("log of account {account} of powerstream-gateway")),
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        max_age: limits.age_max,
        max_bytes: i64::try_from(limits.bytes_max).unwrap_or(i64::MAX),
        num_replicas: limits.replicas,
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        deny_delete: true,
        deny_purge: true,
        metadata: [entry(EPOCH, identity.epoch), entry(SIDE_EPOCH, identity.side_epoch)].into(),
        ..Config::default()
    }
}

/// Returns the definition of an account's bucket, in the form of NATS KV.
pub(super) fn bucket_config(account: &AccountName, limits: StreamLimits) -> Config {
    let bucket = bucket_name(account);
    Config {
        name: format!("KV_{bucket}"),
        subjects: vec![format!("$KV.{bucket}.>")],
        description: Some(format!("lease, terms and members of account {account} of powerstream-gateway")),
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        max_bytes: KEYS_BYTES_MAX,
        max_messages_per_subject: 1,
        num_replicas: limits.replicas,
        duplicate_window: DUPLICATE_WINDOW,
        allow_rollup: true,
        allow_direct: true,
        deny_delete: true,
        ..Config::default()
    }
}

/// Creates a stream. If there is one of this name already, it stays as it is.
pub(super) async fn create(connection: &NatsConnection, config: &Config) -> Result<(), Unavailable> {
    match connection.api::<Info>("STREAM.CREATE", &config.name, config).await? {
        Ok(_) => Ok(()),
        Err((ErrorCode::STREAM_NAME_EXIST, _)) => Ok(()),
        Err((_, error)) => Err(Unavailable(format!("failed to create stream {}: {error}", config.name))),
    }
}

/// Returns the state of a stream; `None` if the servers report that there is none.
pub(super) async fn info(connection: &NatsConnection, stream: &str) -> Result<Option<LogInfo>, Unavailable> {
    match connection.api::<Info>("STREAM.INFO", stream, &()).await? {
        Ok(info) => log_info(&info).map(Some),
        Err((ErrorCode::STREAM_NOT_FOUND, _)) => Ok(None),
        Err((_, error)) => Err(Unavailable(error)),
    }
}

fn log_info(info: &Info) -> Result<LogInfo, Unavailable> {
    let name = &info.config.name;
    let epoch = |entry| {
        let text = info.config.metadata.get(entry);
        text.and_then(|text| u128::from_str_radix(text, 16).ok()).map(Epoch)
    };
    let identity = epoch(EPOCH).map(|own| SharedIdentity {
        side_epoch: epoch(SIDE_EPOCH).unwrap_or(SharedIdentity::of_log(own).side_epoch),
        epoch: own,
    });
    let identity = identity.ok_or_else(|| {
        let text =
            format!("stream {name} is not the log of a gateway: its metadata has no {EPOCH}; delete or rename it");
        Unavailable(text)
    })?;
    let (first, last) = (info.state.first_sequence, info.state.last_sequence);
    let first = if info.state.messages == 0 { last + 1 } else { first };
    Ok(LogInfo { created: info.created.to_string(), identity, first, last })
}
