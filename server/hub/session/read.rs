//! Reads of a session: from the ring buffer at once, from the page cache, or from the journal, with heartbeats while it
//! waits for a permit and the disk.

use futures::FutureExt;

use super::super::{HubReadError, Read};
use super::access::ReplayPermits;
use super::waiting::something_due;
use super::{EndReason, Frame, Session, SessionEnd};
use crate::access::ReplayPermit;

impl Session {
    /// Reads the next entries of the log.
    pub(super) async fn read_on(&mut self) -> Result<Option<Frame>, SessionEnd> {
        if self.reading.is_none() {
            if let Some(read) = self.hub.read_hot(self.cursor, self.member.filter().keys(), self.pace.limits()) {
                self.replay = None;
                self.apply_read(read);
                return Ok(None);
            }
            self.start_cold_read().await?;
            if std::mem::take(&mut self.caught_up) {
                return Ok(Some(self.fell_behind()));
            }
        }
        self.set_alarm(None);
        let Some(reading) = &mut self.reading else { return Ok(None) };
        tokio::select! {
            biased;
            read = reading => {
                self.reading = None;
                self.apply_cold_read(read)?;
            }
            // A journal read may wait long; control frames do not wait for it.
            () = something_due(&mut self.alarm, &mut self.status, &mut self.closing) => {}
        }
        Ok(None)
    }

    async fn start_cold_read(&mut self) -> Result<(), SessionEnd> {
        if self.replay.is_none() {
            let of_caller = self.start_replay_of_caller().await?;
            let of_account = self.hub.acquire_replay_permit();
            let of_account = of_account.ok_or_else(|| self.end(EndReason::ReplayLimit))?;
            self.replay = Some(ReplayPermits::new(of_account, of_caller));
        }
        let keys = self.member.filter().keys();
        match self.hub.read_cached(self.cursor, keys) {
            Some(read) => self.apply_read(read),
            None => self.reading = Some(self.hub.clone().read_cold(self.cursor, keys.clone()).boxed()),
        }
        Ok(())
    }

    /// Counts the session as one of its caller that reads the journal.
    async fn start_replay_of_caller(&mut self) -> Result<Option<ReplayPermit>, SessionEnd> {
        let Some(access) = &self.access else { return Ok(None) };
        match access.start_replay() {
            Ok(permit) => Ok(Some(permit)),
            Err(_) => {
                self.hub.clock().sleep(access.refusal_delay()).await;
                Err(self.end(EndReason::CallerReplayLimit))
            }
        }
    }

    fn apply_read(&mut self, read: Read) {
        self.pending_entries.extend(read.entries);
        self.next_pending = read.next;
    }

    fn apply_cold_read(&mut self, read: Result<Read, HubReadError>) -> Result<(), SessionEnd> {
        match read {
            Ok(read) => {
                self.apply_read(read);
                Ok(())
            }
            Err(HubReadError::Trimmed { .. }) => Err(self.end(EndReason::TooSlow)),
            Err(HubReadError::Unavailable(error)) => {
                tracing::error!(account = %self.hub.account(), error, "failed to read journal, closing session");
                Err(self.end(EndReason::JournalUnavailable))
            }
        }
    }
}
