use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::telemetry::metrics::{ComputedGauge, Histogram};
use crate::upstream::message::ForeignFormat;

/// Metrics of ingest. Accounting law, once the queue is empty: `ingest_messages = posts_appended + side_appended +
/// duplicates + deltas + control + unknown + foreign_messages + malformed + oversized + partial + dropped_at_shutdown + refused_by_fence + in_doubt`.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Messages framed from upstream bodies, including unfinished ones at the end of a connection.
    pub messages_in: Counter,
    /// Messages that were framed and are not in the log yet.
    pub in_flight: Gauge,
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
    /// Messages that were read and dropped because another replica leads.
    pub refused_by_fence: Counter,
    /// Messages that were read and dropped because the leadership ended before the outcome of their append was known.
    pub in_doubt: Counter,
    /// Posts without a list of matching rules; also counted in `posts_appended`.
    pub rules_missing: Counter,
    /// Appends that failed and were retried.
    pub append_failures: Counter,
    /// Batches appended.
    pub appends: Counter,
    /// Open live connections.
    pub upstream_connected: Gauge,
    /// Time from the creation of a post to its arrival on a live connection.
    pub upstream_lag: Histogram,
    /// Duration of an append.
    pub append_duration: Histogram,
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
        let help = "Total messages dropped because another replica leads";
        counter("refused_by_fence", help, &own.refused_by_fence);
        let help = "Total messages dropped because a leadership ended before the outcome of their append was known";
        counter("in_doubt", help, &own.in_doubt);
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
        let help = "Time from the creation of a post to its arrival on a live connection";
        registry.register("upstream_lag_seconds", help, own.upstream_lag.clone());
        registry.register("journal_append_seconds", "Duration of an append to the log", own.append_duration.clone());
        let help = "Messages that were framed and are not in the log yet";
        registry.register("ingest_messages_in_flight", help, own.in_flight.clone());
        let counted = own.clone();
        registry.register(
            "messages_unaccounted",
            "Messages that the accounting law does not find: not 0 for long is a defect",
            ComputedGauge::new(move || counted.unaccounted() as f64),
        );
        registry.register(
            "upstream_posts_first_seen",
            "Total posts of live connections, by the connection that delivered them first",
            own.posts_first.clone(),
        );
        own
    }

    /// Starts the counters of so many connections at 0.
    pub fn begin_connections(&self, connections: usize) {
        for connection in 0..u32::try_from(connections).unwrap_or(u32::MAX) {
            drop(self.posts_first.get_or_create(&ConnectionLabels { connection }));
        }
    }

    /// Counts messages on their way to the log.
    pub fn count_arrivals(&self, messages: usize) {
        self.in_flight.inc_by(i64::try_from(messages).unwrap_or(i64::MAX));
        self.messages_in.inc_by(messages as u64);
    }

    /// Returns the messages that are neither in a counter nor on their way.
    pub fn unaccounted(&self) -> i64 {
        /// The counters are not read at one time: a difference that a batch in between makes is not there again.
        const READS_MAX: usize = 8;
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let difference = || signed(self.messages_in.get()) - signed(self.accounted()) - self.in_flight.get();
        (0..READS_MAX).map(|_| difference()).find(|found| *found == 0).unwrap_or_else(difference)
    }

    /// Returns the accounted messages: equal to `ingest_messages` once no message is on its way.
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
            &self.refused_by_fence,
            &self.in_doubt,
        ];
        foreign + others.iter().map(|counter| counter.get()).sum::<u64>()
    }
}
