use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::state_machine::PersistedState;
use crate::model::{Gap, GapCause, GapState, UnixMillis};

/// Metrics of an account's gaps.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    gaps_open: Gauge,
    gaps_open_seconds: Gauge,
    gap_records: Family<GapCauseLabel, Counter>,
    gaps_ended: Family<GapStateLabel, Counter>,
    unrecoverable_seconds: Counter,
}

/// Causes of gaps of a log; those of subscriptions are not counted here.
const CAUSES: [GapCause; 9] = [
    GapCause::Disconnected,
    GapCause::Stale,
    GapCause::SlowReader,
    GapCause::GatewayDown,
    GapCause::JournalUnavailable,
    GapCause::JournalCorrupt,
    GapCause::TooManyConnections,
    GapCause::UsageCapped,
    GapCause::InvalidRules,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GapCauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GapStateLabel {
    state: &'static str,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        for cause in CAUSES {
            drop(own.gap_records.get_or_create(&GapCauseLabel { cause: self::cause(cause) }));
        }
        for state in [GapState::Backfilled, GapState::Recovered, GapState::Unrecoverable] {
            drop(own.gaps_ended.get_or_create(&GapStateLabel { state: self::state(state) }));
        }
        registry.register("gaps_open", "Open gaps", own.gaps_open.clone());
        registry.register(
            "gaps_open_seconds",
            "Missing upstream time that may still be recovered, in seconds",
            own.gaps_open_seconds.clone(),
        );
        registry.register("gap_records", "Total records of open gaps, by cause", own.gap_records.clone());
        registry.register("gaps_closed", "Total closed gaps, by final state", own.gaps_ended.clone());
        registry.register(
            "gaps_unrecoverable_seconds",
            "Total unrecoverable upstream time, in seconds",
            own.unrecoverable_seconds.clone(),
        );
        own
    }

    pub(super) fn record(&self, gap: &Gap) {
        let Some(to) = gap.window.to.filter(|_| gap.state.is_final()) else {
            self.gap_records.get_or_create(&GapCauseLabel { cause: cause(gap.cause) }).inc();
            return;
        };
        self.gaps_ended.get_or_create(&GapStateLabel { state: state(gap.state) }).inc();
        if gap.state == GapState::Unrecoverable {
            self.unrecoverable_seconds.inc_by(to.since(gap.window.from).as_secs().max(1));
        }
    }

    pub(super) fn note_open(&self, kept: &PersistedState, now: UnixMillis) {
        let waiting = || kept.feeds.iter().flat_map(|feed| &feed.gaps).filter(|own| own.announced);
        let healing = kept.healing.values().flat_map(|healing| healing.missing.iter());
        let open = waiting().map(|own| own.span(now));
        let seconds: u64 = healing.chain(open).map(|span| span.to.since(span.from).as_secs()).sum();
        self.gaps_open.set(i64::try_from(kept.healing.len() + waiting().count()).unwrap_or(i64::MAX));
        self.gaps_open_seconds.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
}

fn cause(cause: GapCause) -> &'static str {
    match cause {
        GapCause::Disconnected => "disconnected",
        GapCause::Stale => "stale",
        GapCause::SlowReader => "slow_reader",
        GapCause::GatewayDown => "gateway_down",
        GapCause::JournalUnavailable => "journal_unavailable",
        GapCause::JournalCorrupt => "journal_corrupt",
        GapCause::Trimmed => "trimmed",
        GapCause::LogLost => "log_lost",
        GapCause::TooManyConnections => "too_many_connections",
        GapCause::UsageCapped => "usage_capped",
        GapCause::InvalidRules => "invalid_rules",
    }
}

fn state(state: GapState) -> &'static str {
    match state {
        GapState::Detected => "detected",
        GapState::Recovering => "recovering",
        GapState::Backfilled => "backfilled",
        GapState::Recovered => "recovered",
        GapState::Unrecoverable => "unrecoverable",
    }
}
