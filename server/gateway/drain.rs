//! Readiness of the gateway, and drains by an operator.

use std::time::Duration;

use tokio::sync::watch;

use super::Gateway;
use super::availability::Availability;
use crate::hub::{DrainCause, DrainNotice, Hub};

/// The gateway shuts down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping;

/// A drain by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainId(u64);

fn notice(hub: &Hub, spread: Duration, grace: Duration) -> DrainNotice {
    let clock = hub.clock();
    let deadline = clock.now().plus(spread).plus(grace);
    DrainNotice { deadline, begin: clock.moment(), spread, cause: DrainCause::Operator }
}

impl Gateway {
    /// Sets that the start is complete.
    pub fn set_ready(&self, ready: bool) {
        self.change(|state| state.is_started = ready);
    }

    /// Sets that the gateway shuts down: it is not ready any more, whatever an operator requests.
    pub fn begin_stop(&self) {
        self.change(|state| state.is_stopping = true);
    }

    /// Ends all sessions over an interval, and refuses new ones until [`Gateway::undrain`]. `grace` is how much later the last
    /// stream ends. A further call replaces the interval. Returns `Stopping` while the gateway shuts down.
    pub fn drain(&self, spread: Duration, grace: Duration) -> Result<DrainId, Stopping> {
        let mut state = self.availability.lock();
        if state.is_stopping {
            return Err(Stopping);
        }
        state.drains += 1;
        state.drain = Some(state.drains);
        self.accounts().iter().for_each(|own| own.hub.registry().start_drain(notice(&own.hub, spread, grace)));
        self.ready.send_replace(state.is_ready());
        Ok(DrainId(state.drains))
    }

    /// Ends a drain. Returns `Stopping` while the gateway shuts down.
    pub fn undrain(&self) -> Result<(), Stopping> {
        let mut state = self.availability.lock();
        if state.is_stopping {
            return Err(Stopping);
        }
        state.drain = None;
        self.accounts().iter().for_each(|own| own.hub.registry().end_drain());
        self.ready.send_replace(state.is_ready());
        Ok(())
    }

    /// Resets the streams of all sessions that a drain has not ended, unless it has ended or was replaced.
    pub fn abort_drained(&self, drain: DrainId) {
        let state = self.availability.lock();
        if state.drain == Some(drain.0) && !state.is_stopping {
            let sessions = self.accounts().into_iter().flat_map(|account| account.hub.registry().list());
            sessions.for_each(|session| session.abort());
        }
    }

    /// Drains an account that opens during a drain.
    pub(super) fn drain_opened(&self, hub: &Hub) {
        if self.availability.lock().drain.is_some() {
            hub.registry().start_drain(notice(hub, Duration::ZERO, Duration::ZERO));
        }
    }

    /// Returns the number of open sessions.
    pub fn session_count(&self) -> usize {
        self.accounts().iter().map(|account| account.hub.registry().len()).sum()
    }

    /// Returns why requests cannot be served; `None` if they can.
    pub fn unready_reason(&self) -> Option<&'static str> {
        let state = self.availability.lock();
        match () {
            () if state.is_ready() => None,
            () if state.is_started && !state.is_stopping => Some("the gateway is drained by an operator"),
            () => Some("the gateway is starting or stopping"),
        }
    }

    /// Returns true if requests can be served.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Subscribes to readiness.
    pub fn readiness_changes(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Availability)) {
        let mut state = self.availability.lock();
        change(&mut state);
        self.ready.send_replace(state.is_ready());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn drain_is_reversible_and_stop_is_not() {
        let gateway = Gateway::new();
        assert_eq!(gateway.unready_reason(), Some("the gateway is starting or stopping"));
        gateway.set_ready(true);
        assert!(gateway.is_ready() && gateway.unready_reason().is_none());
        let first = gateway.drain(NOW, NOW).expect("it runs");
        assert_ne!(gateway.drain(NOW, NOW).expect("it runs"), first, "another one");
        assert!(!gateway.is_ready());
        assert_eq!(gateway.unready_reason(), Some("the gateway is drained by an operator"));
        gateway.undrain().expect("it runs");
        assert!(gateway.is_ready());
        gateway.drain(NOW, NOW).expect("it runs");
        gateway.begin_stop();
        assert_eq!((gateway.undrain(), gateway.drain(NOW, NOW)), (Err(Stopping), Err(Stopping)));
        gateway.set_ready(true);
        assert!(!gateway.is_ready());
        assert_eq!(gateway.unready_reason(), Some("the gateway is starting or stopping"));
    }
}
