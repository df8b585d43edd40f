use std::time::Duration;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::credential::Credential;
use crate::cursor_file::CursorFile;
use crate::describe::words_of;
use crate::exit::Failure;
use crate::limits::{CONNECT_WAIT_MAX, HEARTBEATS_MISSED_MAX};
use crate::line::lines_of;
use crate::output::{print, say};
use crate::proto::SubscribeResponse;
use crate::proto::subscribe_response::Frame;
use crate::retry_policy::{CredentialState, Ending, Verdict, decide};
use crate::session::Session;
use crate::status::positive;
use crate::stop::Stop;
use crate::validator::{Audit, Unsound};

/// The loop of PROTOCOL.md: CONNECT, STREAMING, DECIDE, BACK_OFF, until STOPPED. LOAD is in main.
pub struct Consumer {
    config: Config,
    cursor: CursorFile,
    stop: Stop,
    backoff: Backoff,
    credential: Credential,
    /// Unsound frames in this process.
    unsound: u32,
    /// Events printed in this process.
    printed: u64,
    /// What Draining said in this session.
    reconnect_after: Option<Duration>,
}

/// What ends a session.
enum End {
    Decide(Ending),
    Stopped,
    Failed(Failure),
}

impl Consumer {
    pub fn new(config: Config, cursor: CursorFile, stop: Stop) -> Self {
        let (backoff, credential) = (Backoff::default(), Credential::default());
        Self { config, cursor, stop, backoff, credential, unsound: 0, printed: 0, reconnect_after: None }
    }

    pub async fn run(&mut self) -> Result<(), Failure> {
        loop {
            let ending = match self.session().await {
                End::Decide(ending) => ending,
                End::Stopped => return Ok(()),
                End::Failed(failure) => return Err(failure),
            };
            match decide(ending, self.credential_now()) {
                Verdict::Stopped(failure) => return Err(failure),
                Verdict::BackOff { words, retry_delay } => {
                    let asked = retry_delay.filter(|delay| !delay.is_zero()).or(self.reconnect_after.take());
                    let wait = self.backoff.next(asked, rand::random());
                    say(&format!("{words}; reconnecting in {:.1} s", wait.as_secs_f64()));
                    if self.stop.or(tokio::time::sleep(wait)).await.is_none() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// CONNECT and STREAMING.
    async fn session(&mut self) -> End {
        match self.connect().await {
            Ok((session, first)) => match self.stream(session, first).await {
                Ok(never) => match never {},
                Err(end) => end,
            },
            Err(end) => end,
        }
    }

    /// CONNECT: everything is new.
    async fn connect(&mut self) -> Result<(Session, SubscribeResponse), End> {
        self.reconnect_after = None;
        self.credential = Credential::read(&self.config).map_err(End::Decide)?;
        let wait_max = CONNECT_WAIT_MAX.max(self.config.heartbeat * HEARTBEATS_MISSED_MAX);
        let opening = Session::open(&self.config, &self.credential, self.cursor.token(), wait_max);
        self.stop.or(opening).await.ok_or(End::Stopped)?.map_err(End::Decide)
    }

    /// STREAMING: check, handle, store, frame by frame.
    async fn stream(
        &mut self,
        mut session: Session,
        first: SubscribeResponse,
    ) -> Result<std::convert::Infallible, End> {
        let mut audit = Audit::default();
        let mut silence_max = self.config.heartbeat * HEARTBEATS_MISSED_MAX;
        let mut response = first;
        loop {
            audit.check(&response).map_err(|Unsound(words)| {
                self.unsound += 1;
                End::Decide(Ending::Unsound { words, times: self.unsound })
            })?;
            match &response.frame {
                Some(Frame::SessionStart(start)) => {
                    self.backoff.reset();
                    if let Some(granted) = start.heartbeat_interval.and_then(positive) {
                        silence_max = granted.saturating_mul(HEARTBEATS_MISSED_MAX);
                    }
                }
                Some(Frame::Draining(draining)) => self.reconnect_after = draining.reconnect_after.and_then(positive),
                _ => {}
            }
            self.handle(&response).await.map_err(End::Failed)?;
            self.store(&response).map_err(End::Failed)?;
            if self.config.count.is_some_and(|count| self.printed >= count) {
                return Err(End::Stopped);
            }
            response = self.stop.or(session.next(silence_max)).await.ok_or(End::Stopped)?.map_err(End::Decide)?;
        }
    }

    /// In your service: what is to be done with the events.
    async fn handle(&mut self, response: &SubscribeResponse) -> Result<(), Failure> {
        match &response.frame {
            Some(Frame::EventBatch(batch)) => {
                print(&lines_of(batch)).await?;
                self.printed += batch.events.len() as u64;
            }
            Some(frame) => words_of(frame).iter().for_each(|line| say(line)),
            None => {}
        }
        Ok(())
    }

    /// In your service: in the same transaction as the effect of the events.
    fn store(&mut self, response: &SubscribeResponse) -> Result<(), Failure> {
        let token = response.resume_token.as_str();
        if token.is_empty() || self.cursor.token() == Some(token) {
            return Ok(());
        }
        self.cursor.store(token)
    }

    fn credential_now(&self) -> CredentialState {
        if self.config.token_file.is_none() && self.config.identity.is_none() {
            return CredentialState::None;
        }
        match Credential::read(&self.config) {
            Ok(now) if now != self.credential => CredentialState::Changed,
            _ => CredentialState::Same,
        }
    }
}
