use std::task::Poll;

use tokio::signal::unix::{SignalKind, signal};

/// A request to stop the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, sent by an orchestrator.
    Terminate,
    /// SIGINT, sent from a terminal.
    Interrupt,
}

/// The signals that stop the process.
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    /// `None` if SIGHUP ends the process, which is the system's default.
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Installs handlers for SIGTERM and SIGINT.
    pub fn listen() -> std::io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup: None })
    }

    /// Installs handlers for a server process: SIGHUP, which is reserved for reloading the configuration, is logged and
    /// ignored.
    pub fn listen_as_server() -> std::io::Result<Self> {
        Ok(Self { hangup: Some(signal(SignalKind::hangup())?), ..Self::listen()? })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            while let Some(Poll::Ready(Some(()))) = self.hangup.as_mut().map(|hangup| hangup.poll_recv(cx)) {
                tracing::warn!("SIGHUP ignored: settings are read at the start only");
            }
            if self.terminate.poll_recv(cx).is_ready() {
                return Poll::Ready(Signal::Terminate);
            }
            self.interrupt.poll_recv(cx).map(|_| Signal::Interrupt)
        })
        .await
    }
}
