use std::io::{ErrorKind, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, anyhow};
use tokio::sync::oneshot;

use crate::task::{ExitPolicy, TaskGroup};

/// Prints on a dedicated thread: if the reader of the output stalls, the command still handles signals.
pub(super) struct Output {
    jobs: SyncSender<WriteJob>,
}

/// Result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteResult {
    /// The system accepted all of it.
    All,
    /// The reader closed the output.
    Closed,
}

struct WriteJob {
    text: Vec<u8>,
    done: oneshot::Sender<anyhow::Result<WriteResult>>,
}

impl Output {
    /// Starts the thread.
    pub(super) fn start(tasks: &TaskGroup, sink: impl Write + Send + 'static) -> Self {
        let (jobs, queue) = sync_channel(1);
        tasks.thread("output", ExitPolicy::Continue, move || print(&queue, sink));
        Self { jobs }
    }

    /// Prints the text.
    pub(super) async fn write(&self, text: Vec<u8>) -> anyhow::Result<WriteResult> {
        let (done, outcome) = oneshot::channel();
        // Full only after a cancelled write, which ends the command.
        self.jobs.try_send(WriteJob { text, done }).map_err(|_| anyhow!("output is blocked"))?;
        outcome.await.context("the output thread has ended")?
    }
}

fn print(queue: &Receiver<WriteJob>, mut sink: impl Write) {
    while let Ok(job) = queue.recv() {
        let outcome = match sink.write_all(&job.text).and_then(|()| sink.flush()) {
            Ok(()) => Ok(WriteResult::All),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(WriteResult::Closed),
            Err(error) => Err(error).context("cannot write to the output"),
        };
        // No caller waits if the command was stopped meanwhile.
        job.done.send(outcome).ok();
    }
}
