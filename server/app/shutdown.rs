//! Shutdown stages, within one deadline: not ready → upstream closed → journal on disk → sessions drained → ports
//! closed.

use std::time::Duration;

use super::App;
use crate::clock::Moment;
use crate::hub::DrainNotice;

/// Share of the deadline for writing received messages to disk.
const WRITE_SHARE: f64 = 0.3;
/// Share of the deadline after which open streams are closed.
const SESSIONS_SHARE: f64 = 0.8;
/// Share of the deadline for closing connections without a session.
const SERVERS_SHARE: f64 = 0.1;
/// Interval at which a closing registry is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

impl App {
    /// Stops all stages in order. Returns as `Err` the reason of the shutdown if a task failed.
    pub async fn stop(self) -> Result<(), String> {
        let deadline = self.settings.shutdown_timeout;
        let began = self.clock.moment();
        let left = |share: f64| began.plus(deadline.mul_f64(share)).since(self.clock.moment());
        tracing::info!(?deadline, "stopping");
        self.gateway.begin_stop();
        self.tasks.shutdown().cancel();

        self.stages.upstream.cancel();
        self.sessions.join(&self.clock, left(WRITE_SHARE)).await;
        if !self.writers.join(&self.clock, left(WRITE_SHARE)).await {
            self.stages.giving_up.cancel();
            if !self.writers.join(&self.clock, left(WRITE_SHARE * 1.5)).await {
                tracing::error!("journal unavailable at shutdown, received messages dropped");
            }
        }

        self.end_sessions(began.plus(deadline.mul_f64(SESSIONS_SHARE))).await;
        self.stages.faces.cancel();
        if !self.tasks.join(&self.clock, left(0.95).min(deadline.mul_f64(SERVERS_SHARE))).await {
            tracing::info!("connections did not end in time, closing them");
        }
        match self.tasks.failure() {
            Some(reason) => Err(reason),
            None => {
                tracing::info!("stopped");
                Ok(())
            }
        }
    }

    async fn end_sessions(&self, until: Moment) {
        let left = until.since(self.clock.moment());
        for account in self.gateway.accounts() {
            let clock = account.hub.clock();
            let notice = DrainNotice::shutdown(clock.moment(), clock.now().plus(left));
            account.hub.registry().start_drain(notice);
        }
        let open = || self.gateway.accounts().iter().map(|account| account.hub.registry().len()).sum::<usize>();
        while open() > 0 && self.clock.moment() < until {
            self.clock.sleep(POLL_INTERVAL).await;
        }
        if open() > 0 {
            tracing::info!(sessions = open(), "drain timed out, closing sessions");
        }
    }
}
