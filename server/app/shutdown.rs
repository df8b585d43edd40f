//! The order of stopping, within one deadline: not ready → upstream closed → journal on the disk → sessions told and
//! ended → ports closed.

use std::time::Duration;

use super::App;
use crate::clock::Moment;
use crate::hub::DrainNotice;

/// Share of the deadline for what upstream brought to reach the disk.
const WRITE_SHARE: f64 = 0.3;
/// Share of the deadline after which the streams that do not end are cut.
const SESSIONS_SHARE: f64 = 0.8;
/// Share of the deadline for connections without a session to close: some never say a word.
const SERVERS_SHARE: f64 = 0.1;
/// How often a closing registry is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

impl App {
    /// Stops in order. `Err` tells why the process had to stop, if a part failed.
    pub async fn stop(self) -> Result<(), String> {
        let deadline = self.settings.shutdown_timeout;
        let began = self.clock.moment();
        let left = |share: f64| began.plus(deadline.mul_f64(share)).since(self.clock.moment());
        tracing::info!(?deadline, "stopping");
        self.gateway.set_ready(false);
        self.tasks.shutdown().cancel();

        self.stages.upstream.cancel();
        self.sessions.join(&self.clock, left(WRITE_SHARE)).await;
        if !self.writers.join(&self.clock, left(WRITE_SHARE)).await {
            self.stages.giving_up.cancel();
            if !self.writers.join(&self.clock, left(WRITE_SHARE * 1.5)).await {
                tracing::error!("the journal did not take all that was read");
            }
        }

        self.end_sessions(began.plus(deadline.mul_f64(SESSIONS_SHARE))).await;
        self.stages.faces.cancel();
        if !self.tasks.join(&self.clock, left(0.95).min(deadline.mul_f64(SERVERS_SHARE))).await {
            tracing::info!("connections that did not end are cut");
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
            account.hub.registry().start_drain(DrainNotice { deadline: account.hub.clock().now().plus(left) });
        }
        let open = || self.gateway.accounts().iter().map(|account| account.hub.registry().len()).sum::<usize>();
        while open() > 0 && self.clock.moment() < until {
            self.clock.sleep(POLL_INTERVAL).await;
        }
        if open() > 0 {
            tracing::info!(sessions = open(), "sessions that do not read are cut");
        }
    }
}
