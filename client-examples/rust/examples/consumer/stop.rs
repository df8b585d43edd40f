use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::limits::STOP_WAIT_MAX;

/// Whether a signal said to stop.
#[derive(Clone, Debug)]
pub struct Stop {
    said: watch::Receiver<bool>,
}

impl Stop {
    /// The first SIGTERM or SIGINT stops; a second one ends the process.
    pub fn listen() -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (say, said) = watch::channel(false);
        tokio::spawn(hear(terminate, interrupt, say));
        Ok(Self { said })
    }

    /// What `work` gives; nothing if told to stop first. It is dropped then.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut said = self.said.clone();
        tokio::select! {
            // A frame that is there when the stop comes is not begun any more.
            biased;
            _ = said.wait_for(|said| *said) => None,
            given = work => Some(given),
        }
    }
}

async fn hear(mut terminate: Signal, mut interrupt: Signal, say: watch::Sender<bool>) {
    let mut next = async || {
        tokio::select! {
            _ = terminate.recv() => SignalKind::terminate(),
            _ = interrupt.recv() => SignalKind::interrupt(),
        }
    };
    next().await;
    say.send_replace(true);
    match tokio::time::timeout(STOP_WAIT_MAX, next()).await {
        // What a shell says of a process that a signal ended.
        Ok(second) => std::process::exit(128 + second.as_raw_value()),
        // Whoever reads the output has stopped reading.
        Err(_) => std::process::exit(0),
    }
}
