use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::upstream::message::ForeignFormat;

/// Metrics of ingest. Accounting law, once the queue is empty: `ingest_messages = posts_appended + side_appended +
/// duplicates + deltas + control + unknown + foreign_messages + malformed + oversized + partial + dropped_at_shutdown`.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Messages framed from upstream bodies, including unfinished ones at the end of a connection.
    pub messages_in: Counter,
    /// POST records.
    pub posts_appended: Counter,
    /// Posts appended to a side log, for private gaps.
    pub side_appended: Counter,
    /// Posts logged before, under the same rules.
    pub duplicates: Counter,
    /// DELTA records.
    pub deltas: Counter,
    /// Control messages of X.
    pub control: Counter,
    /// JSON objects of unknown kind.
    pub unknown: Counter,
    /// Posts in another format, and compliance messages, by name of their [`ForeignFormat`].
    pub foreign_messages: Family<ForeignLabel, Counter>,
    /// Messages that are not JSON, and posts without an id.
    pub malformed: Counter,
    /// Messages over the limit.
    pub oversized: Counter,
    /// Messages truncated by the end of a connection.
    pub partial: Counter,
    /// Messages that were read and dropped at shutdown, because the journal could not be written.
    pub refused_by_disk: Counter,
    /// Posts without a list of matching rules; also counted in `posts_appended`.
    pub rules_missing: Counter,
    /// Appends that failed and were retried.
    pub append_failures: Counter,
    /// Batches appended.
    pub appends: Counter,
    /// Open live connections.
    pub upstream_connected: Gauge,
    /// Posts and deltas of live connections, by the connection that delivered them first.
    pub posts_first: Family<ConnectionLabels, Counter>,
}

/// Label: a connection of an account.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConnectionLabels {
    /// Number of the connection, from 0.
    pub connection: u32,
}

/// Label of [`Metrics::foreign_messages`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ForeignLabel {
    /// Name of the [`ForeignFormat`].
    pub kind: &'static str,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        let mut counter = |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counter("ingest_messages", "Total messages framed from upstream bodies", &own.messages_in);
        counter("posts_appended", "Total posts appended to the log", &own.posts_appended);
        counter("side_appended", "Total posts appended to the side log", &own.side_appended);
        counter("duplicates", "Total posts that were logged before under the same rules", &own.duplicates);
        counter("deltas", "Total posts that were logged again under more rules", &own.deltas);
        counter("control", "Total control messages of X", &own.control);
        counter("unknown", "Total messages of unknown kind", &own.unknown);
        counter("malformed", "Total messages that are not JSON, and posts without an id", &own.malformed);
        counter("oversized", "Total messages over the size limit", &own.oversized);
        counter("partial", "Total messages truncated by the end of a connection", &own.partial);
        counter(
            "dropped_at_shutdown",
            "Total messages dropped at shutdown because the journal could not be written",
            &own.refused_by_disk,
        );
        counter("ingest_posts_without_rules", "Total posts without a list of matching rules", &own.rules_missing);
        counter("journal_append_failures", "Total appends that failed and were retried", &own.append_failures);
        counter("journal_appends", "Total batches appended", &own.appends);
        for kind in ForeignFormat::ALL {
            drop(own.foreign_messages.get_or_create(&ForeignLabel { kind: kind.name() }));
        }
        registry.register(
            "foreign_messages",
            "Total messages in another format and compliance messages, by kind",
            own.foreign_messages.clone(),
        );
        registry.register("upstream_connected", "Open live connections", own.upstream_connected.clone());
        registry.register(
            "upstream_posts_first_seen",
            "Total posts of live connections, by the connection that delivered them first",
            own.posts_first.clone(),
        );
        own
    }

    /// Returns the accounted messages: equal to `ingest_messages` once the queue is empty.
    #[cfg(test)]
    pub fn accounted(&self) -> u64 {
        let of_kind =
            |kind: ForeignFormat| self.foreign_messages.get_or_create(&ForeignLabel { kind: kind.name() }).get();
        let foreign: u64 = ForeignFormat::ALL.into_iter().map(of_kind).sum();
        let others = [
            &self.posts_appended,
            &self.side_appended,
            &self.duplicates,
            &self.deltas,
            &self.control,
            &self.unknown,
            &self.malformed,
            &self.oversized,
            &self.partial,
            &self.refused_by_disk,
        ];
        foreign + others.iter().map(|counter| counter.get()).sum::<u64>()
    }
}
