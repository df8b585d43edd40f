//! How a session reads on: hot at once, cold from what is kept of the journal, or with heartbeats while it waits for the disk
//! and its turn.

use futures::FutureExt;

use super::super::{Read, ReadError};
use super::{End, Ending, Frame, Subscription, something_due};

impl Subscription {
    /// Reads the next stretch of the log.
    pub(super) async fn read_on(&mut self) -> Result<Option<Frame>, End> {
        if self.reading.is_none() {
            if let Some(read) = self.hub.read_hot(self.cursor, self.seat.filter().keys(), self.pace.limits()) {
                self.replay = None;
                self.take_read(read);
                return Ok(None);
            }
            self.read_behind_ring()?;
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
                self.take_cold(read)?;
            }
            // A read may take long, or wait long for its permit: no control frame waits for it.
            () = something_due(&mut self.alarm, &mut self.status, &mut self.closing) => {}
        }
        Ok(None)
    }

    fn read_behind_ring(&mut self) -> Result<(), End> {
        if self.replay.is_none() {
            self.replay = self.hub.replay_place();
            if self.replay.is_none() {
                return Err(self.end(Ending::ReplayLimit));
            }
        }
        let keys = self.seat.filter().keys();
        match self.hub.read_kept(self.cursor, keys) {
            Some(read) => self.take_read(read),
            None => self.reading = Some(self.hub.clone().read_cold(self.cursor, keys.clone()).boxed()),
        }
        Ok(())
    }

    fn take_read(&mut self, read: Read) {
        self.stretch.extend(read.entries);
        self.stretch_next = read.next;
    }

    fn take_cold(&mut self, read: Result<Read, ReadError>) -> Result<(), End> {
        match read {
            Ok(read) => {
                self.take_read(read);
                Ok(())
            }
            Err(ReadError::Trimmed { .. }) => Err(self.end(Ending::TooSlow)),
            Err(ReadError::Unavailable(error)) => {
                tracing::error!(account = %self.hub.account(), error, "a session ends: the journal cannot be read");
                Err(self.end(Ending::JournalUnavailable))
            }
        }
    }
}
