use std::io::{ErrorKind, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, anyhow};
use tokio::sync::oneshot;

use super::token_file::TokenFile;
use crate::task::{ExitPolicy, TaskGroup};

/// Prints and then stores the token, in this order, on a dedicated thread: if the reader of the output stalls, the command
/// still handles signals.
pub(super) struct Output {
    jobs: SyncSender<WriteJob>,
}

/// Result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteResult {
    /// Printed, and the token stored.
    All,
    /// The reader closed the output.
    Closed,
}

struct WriteJob {
    text: Vec<u8>,
    token: Option<String>,
    /// Whether to sync the token file.
    last: bool,
    done: oneshot::Sender<anyhow::Result<WriteResult>>,
}

impl Output {
    /// Starts the thread.
    pub(super) fn start(tasks: &TaskGroup, sink: impl Write + Send + 'static, file: Option<TokenFile>) -> Self {
        let (jobs, queue) = sync_channel(1);
        tasks.thread("output", ExitPolicy::Continue, move || print(&queue, sink, file));
        Self { jobs }
    }

    /// Prints the text, then stores the token.
    pub(super) async fn write(&self, text: Vec<u8>, token: Option<String>) -> anyhow::Result<WriteResult> {
        self.run(text, token, false).await
    }

    /// Syncs the last token.
    pub(super) async fn finish(&self) -> anyhow::Result<WriteResult> {
        self.run(Vec::new(), None, true).await
    }

    async fn run(&self, text: Vec<u8>, token: Option<String>, last: bool) -> anyhow::Result<WriteResult> {
        let (done, outcome) = oneshot::channel();
        // Full only after a cancelled write, which ends the command.
        self.jobs.try_send(WriteJob { text, token, last, done }).map_err(|_| anyhow!("output is blocked"))?;
        outcome.await.context("the output thread has ended")?
    }
}

fn print(queue: &Receiver<WriteJob>, mut sink: impl Write, mut file: Option<TokenFile>) {
    while let Ok(job) = queue.recv() {
        let outcome = print_one(&job, &mut sink, file.as_mut());
        // No caller waits if the command was stopped meanwhile.
        job.done.send(outcome).ok();
    }
}

fn print_one(job: &WriteJob, sink: &mut impl Write, file: Option<&mut TokenFile>) -> anyhow::Result<WriteResult> {
    match sink.write_all(&job.text).and_then(|()| sink.flush()) {
        Ok(()) => {}
        // Text that was not read has not been handled: its token is not stored.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(WriteResult::Closed),
        Err(error) => return Err(error).context("cannot write to the output"),
    }
    let Some(file) = file else { return Ok(WriteResult::All) };
    if let Some(token) = &job.token {
        file.store(token)?;
    }
    if job.last {
        file.sync()?;
    }
    Ok(WriteResult::All)
}
