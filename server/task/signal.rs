use std::task::Poll;

use tokio::signal::unix::{SignalKind, signal};

/// A request to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, sent by an orchestrator.
    Terminate,
    /// SIGINT, sent from a terminal.
    Interrupt,
    /// SIGHUP, to a server: reload the configuration.
    Reload,
}

/// The signals that the process handles.
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

    /// Installs handlers for a server process, in which SIGHUP reloads the configuration.
    pub fn listen_as_server() -> std::io::Result<Self> {
        Ok(Self { hangup: Some(signal(SignalKind::hangup())?), ..Self::listen()? })
    }

    /// Waits for the next request to stop; a request to reload is passed over.
    pub async fn next_stop(&mut self) -> Signal {
        loop {
            match self.next().await {
                Signal::Reload => tracing::info!("reload ignored: the gateway starts or stops"),
                stop => return stop,
            }
        }
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            if let Some(Poll::Ready(Some(()))) = self.hangup.as_mut().map(|hangup| hangup.poll_recv(cx)) {
                return Poll::Ready(Signal::Reload);
            }
            if self.terminate.poll_recv(cx).is_ready() {
                return Poll::Ready(Signal::Terminate);
            }
            self.interrupt.poll_recv(cx).map(|_| Signal::Interrupt)
        })
        .await
    }
}
