use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::upstream::message::ForeignFormat;

/// The accounting law of the way in: `ingest_messages = posts_appended + side_appended + duplicates + deltas + control +
/// unknown + foreign_messages + malformed + oversized + partial + dropped_at_shutdown` once the queue is empty.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Messages framed from upstream bodies, the unfinished ones at the end of a connection too.
    pub messages_in: Counter,
    /// POST records.
    pub posts_appended: Counter,
    /// Posts in a side log, for subscriptions that lack them.
    pub side_appended: Counter,
    /// Posts logged before, under the same rules.
    pub duplicates: Counter,
    /// DELTA records.
    pub deltas: Counter,
    /// What X says about the stream.
    pub control: Counter,
    /// JSON objects of no known kind.
    pub unknown: Counter,
    /// Posts in another format, and compliance messages, by what they are: the name of a [`ForeignFormat`].
    pub foreign_messages: Family<ForeignLabel, Counter>,
    /// Messages that are no JSON, or posts without an id.
    pub malformed: Counter,
    /// Messages over the limit.
    pub oversized: Counter,
    /// Messages cut off at the end of a connection.
    pub partial: Counter,
    /// Messages read and given up because the journal could not be written until the gateway stopped.
    pub refused_by_disk: Counter,
    /// Posts without a list of matching rules; they are in `posts_appended` too.
    pub rules_missing: Counter,
    /// Appends that failed and were tried again.
    pub append_failures: Counter,
    /// Batches appended.
    pub appends: Counter,
    /// Live connections that are up.
    pub upstream_connected: Gauge,
    /// Posts and deltas that came by a live connection, by the connection that brought them first.
    pub posts_first: Family<ConnectionLabels, Counter>,
}

/// Which of an account's connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConnectionLabels {
    /// Its number, from 0.
    pub connection: u32,
}

/// Label of [`Metrics::foreign_messages`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ForeignLabel {
    /// What the message is.
    pub kind: &'static str,
}

impl Metrics {
    /// Registers what is counted on the way in.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        let mut counter = |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counter("ingest_messages", "Messages framed from upstream bodies", &own.messages_in);
        counter("posts_appended", "Posts appended to the log", &own.posts_appended);
        counter("side_appended", "Posts appended to a side log", &own.side_appended);
        counter("duplicates", "Posts that were logged before under the same rules", &own.duplicates);
        counter("deltas", "Posts that were logged again under more rules", &own.deltas);
        counter("control", "Messages of X about the stream", &own.control);
        counter("unknown", "Messages of no known kind", &own.unknown);
        counter("malformed", "Messages that are no JSON, or posts without an id", &own.malformed);
        counter("oversized", "Messages over the limit", &own.oversized);
        counter("partial", "Messages cut off at the end of a connection", &own.partial);
        counter(
            "dropped_at_shutdown",
            "Messages given up because the journal could not be written",
            &own.refused_by_disk,
        );
        counter("ingest_posts_without_rules", "Posts without a list of matching rules", &own.rules_missing);
        counter("journal_append_failures", "Appends that failed and were tried again", &own.append_failures);
        counter("journal_appends", "Batches appended", &own.appends);
        for kind in ForeignFormat::ALL {
            drop(own.foreign_messages.get_or_create(&ForeignLabel { kind: kind.name() }));
        }
        registry.register(
            "foreign_messages",
            "Total messages in another format and compliance messages, by kind",
            own.foreign_messages.clone(),
        );
        registry.register("upstream_connected", "Live connections that are up", own.upstream_connected.clone());
        registry.register(
            "upstream_posts_first_seen",
            "Posts that came by a live connection, by the one that brought them first",
            own.posts_first.clone(),
        );
        own
    }

    /// What is made of messages so far: equal to `ingest_messages` once the queue is empty.
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
