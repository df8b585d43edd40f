use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Maximum time of a shutdown.
const STOP_WAIT_MAX: Duration = Duration::from_secs(5);

/// Whether a signal requested a shutdown.
#[derive(Clone, Debug)]
pub struct Stop {
    stopped: watch::Receiver<bool>,
}

impl Stop {
    /// Listens to signals. The first SIGTERM or SIGINT requests a shutdown, a second one ends the process.
    pub fn listen() -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (sender, stopped) = watch::channel(false);
        tokio::spawn(listen(terminate, interrupt, sender));
        Ok(Self { stopped })
    }

    /// Returns the output of `work`; `None`, with `work` dropped, if the shutdown comes first.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            // A frame that arrived with the signal is not processed any more.
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => None,
            output = work => Some(output),
        }
    }
}

async fn listen(mut terminate: Signal, mut interrupt: Signal, sender: watch::Sender<bool>) {
    let mut next = async || {
        tokio::select! {
            _ = terminate.recv() => SignalKind::terminate(),
            _ = interrupt.recv() => SignalKind::interrupt(),
        }
    };
    next().await;
    sender.send_replace(true);
    if let Ok(second) = tokio::time::timeout(STOP_WAIT_MAX, next()).await {
        // The exit code that a shell reports for a process that a signal ended.
        std::process::exit(128 + second.as_raw_value());
    }
    // The reader of the output has stopped reading.
    eprintln!("error: stopped within a frame: its token is not stored");
    std::process::exit(1);
}
