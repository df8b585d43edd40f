//! The log filter in effect, and its replacement for a limited time.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Context, Filter};

use super::config::TelemetryError;
use crate::clock::{Clock, Moment};
use crate::model::UnixMillis;

/// Parses a log filter.
pub fn filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder().parse(text).map_err(|error| TelemetryError::Filter(error.to_string()))
}

/// What is logged whatever an operator requests.
const ALWAYS: &str = "audit=info";

/// A filter that can be replaced. Reading it takes no lock: spans of sessions are entered with each frame.
#[derive(Clone)]
pub(super) struct SwappableFilter(Arc<ArcSwap<EnvFilter>>);

impl SwappableFilter {
    pub(super) fn new(filter: EnvFilter) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(filter)))
    }

    fn replace(&self, filter: EnvFilter) {
        self.0.store(Arc::new(filter));
        tracing::callsite::rebuild_interest_cache();
    }
}

/// The filter of this process's log.
static IN_USE: OnceLock<SwappableFilter> = OnceLock::new();

/// Sets the filter of this process's log. Only the first call has an effect.
pub(super) fn install(filter: SwappableFilter) {
    // The log is set up once per process.
    let _ = IN_USE.set(filter);
}

impl<S: Subscriber> Filter<S> for SwappableFilter
where
    EnvFilter: Filter<S>,
{
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        Filter::<S>::enabled(&**self.0.load(), metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        Filter::<S>::callsite_enabled(&**self.0.load(), metadata)
    }

    fn event_enabled(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool {
        Filter::<S>::event_enabled(&**self.0.load(), event, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&**self.0.load())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        Filter::<S>::on_new_span(&**self.0.load(), attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Filter::<S>::on_record(&**self.0.load(), id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Filter::<S>::on_enter(&**self.0.load(), id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Filter::<S>::on_exit(&**self.0.load(), id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Filter::<S>::on_close(&**self.0.load(), id, context);
    }
}

/// The replacement of the configured filter for a limited time.
pub struct LogFilterOverride {
    clock: Clock,
    state: Mutex<FilterState>,
    changed: Notify,
}

struct FilterState {
    configured: String,
    replacement: Option<TemporaryFilter>,
}

#[derive(Clone)]
struct TemporaryFilter {
    filter: String,
    ends_at: Moment,
    end_time: UnixMillis,
}

impl LogFilterOverride {
    /// Creates an override that is not in effect.
    pub fn new(configured: &str, clock: Clock) -> Self {
        let state = FilterState { configured: configured.to_owned(), replacement: None };
        Self { clock, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Returns the configured filter.
    pub fn configured(&self) -> String {
        self.state.lock().configured.clone()
    }

    /// Changes the configured filter. It applies at once, or when the replacement ends.
    pub fn set_configured(&self, text: &str) -> Result<(), TelemetryError> {
        let parsed = filter(text)?;
        let mut state = self.state.lock();
        if state.configured != text {
            text.clone_into(&mut state.configured);
            if let Some(in_use) = IN_USE.get().filter(|_| state.replacement.is_none()) {
                in_use.replace(parsed);
            }
        }
        Ok(())
    }

    /// Returns the filter in effect, and when the configured one applies again, if it does not.
    pub fn in_effect(&self) -> (String, Option<UnixMillis>) {
        let state = self.state.lock();
        match &state.replacement {
            Some(own) => (own.filter.clone(), Some(own.end_time)),
            None => (state.configured.clone(), None),
        }
    }

    /// Replaces the filter for this long; `None`: the configured one applies again. Audit lines are always logged.
    pub fn set(&self, change: Option<(&str, Duration)>) -> Result<(), TelemetryError> {
        let Some(in_use) = IN_USE.get() else { return Err(TelemetryError::NoLog) };
        let mut state = self.state.lock();
        match change {
            Some((text, duration)) => {
                in_use.replace(audited(text)?);
                let (ends_at, end_time) = (self.clock.moment().plus(duration), self.clock.now().plus(duration));
                state.replacement = Some(TemporaryFilter { filter: text.to_owned(), ends_at, end_time });
            }
            None => {
                in_use.replace(filter(&state.configured)?);
                state.replacement = None;
            }
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Applies the configured filter again when a replacement ends. Never returns.
    pub async fn run(&self) {
        loop {
            let ends_at = self.state.lock().replacement.as_ref().map(|own| own.ends_at);
            let ended = async {
                match ends_at {
                    Some(ends_at) => self.clock.sleep_until(ends_at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => continue,
                () = ended => {}
            }
            // It was valid at the start.
            if self.set(None).is_ok() {
                tracing::info!("configured log filter applies again");
            }
        }
    }
}

fn audited(text: &str) -> Result<EnvFilter, TelemetryError> {
    let always = ALWAYS.parse().map_err(|_| TelemetryError::Filter(ALWAYS.to_owned()))?;
    Ok(filter(text)?.add_directive(always))
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::{Layer, SubscriberExt};

    use super::*;

    #[test]
    fn replaced_filter_decides_from_then_on() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = {
            let lines = lines.clone();
            move || LineWriter(lines.clone())
        };
        let swappable = SwappableFilter::new(filter("warn").expect("valid"));
        let layer = fmt::layer().with_writer(writer).with_filter(swappable.clone());
        let count = || std::mem::take(&mut *lines.lock()).len();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let log = || {
                tracing::info!("one");
                tracing::info!(target: "audit", "two");
                tracing::warn!("three");
            };
            log();
            assert_eq!(count(), 1);
            swappable.replace(audited("off").expect("valid"));
            log();
            assert_eq!(count(), 1, "audit lines only");
            swappable.replace(audited("audit=off,info").expect("valid"));
            log();
            assert_eq!(count(), 3);
            swappable.replace(filter("warn").expect("valid"));
            log();
            assert_eq!(count(), 1);
        });
    }

    struct LineWriter(Arc<Mutex<Vec<Vec<u8>>>>);

    impl std::io::Write for LineWriter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
