use std::task::Poll;

use tokio::signal::unix::{SignalKind, signal};

/// A request from outside the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: an orchestrator stops the process.
    Terminate,
    /// SIGINT: a person at the terminal does.
    Interrupt,
}

/// The signals that stop the process.
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    /// `None` where SIGHUP ends the process, as the system does by default.
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Takes over SIGTERM and SIGINT from their defaults.
    pub fn listen() -> std::io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup: None })
    }

    /// The same for a process that serves others: SIGHUP, which is reserved for reading the configuration again, does not
    /// end it. It is logged and ignored.
    pub fn listen_as_server() -> std::io::Result<Self> {
        Ok(Self { hangup: Some(signal(SignalKind::hangup())?), ..Self::listen()? })
    }

    /// Waits for the next one.
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
